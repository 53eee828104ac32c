from bloomweaver.cli.commands import standing


def lines(age):
    depth = {"visible": 3, "in_flight": 0, "delayed": 0, "dead": 0, "oldest_age_seconds": age}
    return list(standing.deployment_lines({"queues": {"create": depth}}))


def test_an_age_that_the_queues_do_not_tell_is_said_to_be_unknown():
    assert lines(None) == ["queue      create: 3 visible, 0 in flight, 0 delayed, 0 dead, oldest unknown"]
    assert lines(7.2)[0].endswith("oldest 7 s")
