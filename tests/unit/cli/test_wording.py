import pytest

from bloomweaver.cli import wording


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "-"),
        (-1, "0.0 s"),
        (0.42, "0.4 s"),
        (7, "7 s"),
        (192, "3 m 12 s"),
        (7500, "2 h 5 m"),
        (356_400, "4 d 3 h"),
    ],
)
def test_an_age_is_said_in_two_units(seconds: float | None, said: str):
    assert wording.age(seconds) == said


def test_text_of_others_cannot_move_the_cursor_or_turn_a_line_around():
    assert wording.one_line("a\x1b[2Jb\r\n c\u202ed\x9b") == "a\ufffd[2Jb\ufffd c\ufffdd\ufffd"


def test_a_version_is_a_seq_without_its_epoch():
    assert wording.version((1 << 40) + 7) == "v7"
