from bloomweaver.cli.pushing import progress


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_plain_line_comes_every_five_seconds_and_says_what_is_waited_for():
    clock, said = Clock(), list[str]()
    bars = progress.Plain(said.append, clock=clock)
    bars.planned(9)
    bars.acknowledged(4)
    assert said == []
    clock.seconds = 5.0
    bars.followed(2, 4, "It waits to be embedded.")
    clock.seconds = 9.9
    bars.acknowledged(5)
    assert said == ["4 accepted, 2 of 9 searchable; It waits to be embedded."]
    clock.seconds = 10.0
    bars.followed(9, 9, "")
    assert said[1:] == ["9 accepted, 9 of 9 searchable"]


def test_an_outage_is_said_once_until_it_is_over():
    said = list[str]()
    bars = progress.Plain(said.append, clock=Clock())
    bars.pausing("Cannot reach it.", 1.0)
    bars.pausing("Cannot reach it.", 2.0)
    bars.pausing("", 0.0)
    bars.pausing("Cannot reach it.", 1.0)
    assert said == ["Cannot reach it. Trying again."] * 2
