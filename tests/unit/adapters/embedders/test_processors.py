import pytest

from bloomweaver.adapters.embedders import processors


@pytest.mark.parametrize(
    ("said", "has"),
    [
        ("processor: 0\nflags\t\t: fpu sse avx2 bmi2\n", False),
        ("processor: 0\nflags\t\t: fpu avx512f avx512_vnni\n", True),
        ("processor: 0\nflags\t\t: fpu avx2 avx_vnni\n", True),
        ("processor: 0\nFeatures\t: fp asimd aes\n", False),
        ("processor: 0\nFeatures\t: fp asimd asimddp\n", True),
        ("processor: 0\n", True),
    ],
)
def test_integer_units_by_what_the_system_says(tmp_path, said, has):
    told = tmp_path / "cpuinfo"
    told.write_text(said, encoding="ascii")
    assert processors.multiplies_integers(told) is has


def test_a_system_that_says_nothing_is_left_to_the_runtime(tmp_path):
    assert processors.multiplies_integers(tmp_path / "absent")
