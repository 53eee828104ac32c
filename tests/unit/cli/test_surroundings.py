import pathlib

import pytest

from bloomweaver.cli import failures, surroundings


def test_the_variable_wins_over_the_file(tmp_path: pathlib.Path):
    (tmp_path / "key").write_text("bw_file\n")
    around = surroundings.Surroundings({"BLOOMWEAVER_API_KEY": "bw_variable", "BLOOMWEAVER_DATA": str(tmp_path)})
    assert around.target(None, None).key == "bw_variable"
    assert surroundings.Surroundings({}).target(None, tmp_path).key == "bw_file"


def test_the_file_is_never_sent_to_another_host(tmp_path: pathlib.Path):
    (tmp_path / "key").write_text("bw_file\n")
    around = surroundings.Surroundings({})
    assert around.target("http://[::1]:8080", tmp_path).key == "bw_file"
    assert around.target("https://kb.example.com", tmp_path).key is None
    assert around.target("http://127.0.0.1.example.com", tmp_path).key is None


@pytest.mark.parametrize(
    "url", ["kb.example.com", "ftp://kb.example.com", "http://", "http://user:word@kb.example.com", "http://kb?x=1"]
)
def test_what_is_no_address_is_a_usage_error(url: str):
    with pytest.raises(failures.Failure) as caught:
        surroundings.check_url(url)
    assert caught.value.code is failures.ExitCode.USAGE
