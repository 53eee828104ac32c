"""Settings from variables: what is refused, what is told, what stays secret."""

import pathlib

import pydantic
import pytest

from bloomweaver.domain import errors
from bloomweaver.runtime import config


class Example(config.ServiceSettings):
    port: int = pydantic.Field(default=8080, ge=0, le=65535, description="Port to listen on.")
    globs: tuple[str, ...] = pydantic.Field(default=("*",), description="What to take.")
    token: pydantic.SecretStr | None = pydantic.Field(default=None, description="Shared secret; None means open.")


class Demanding(config.ServiceSettings):
    address: str = pydantic.Field(description="Where to send.")


def refusal(kind: type[config.ServiceSettings], variables: dict[str, str]) -> str:
    with pytest.raises(errors.ConfigurationError) as caught:
        config.read(kind, variables)
    return str(caught.value)


def test_defaults_hold_where_nothing_is_set():
    assert config.read(Example, {"HOME": "/x"}) == Example(port=8080, globs=("*",), token=None)


def test_a_variable_is_the_field_in_capitals_behind_the_prefix():
    assert config.read(Example, {"BLOOMWEAVER_PORT": "9"}).port == 9


def test_a_tuple_is_written_with_commas():
    assert config.read(Example, {"BLOOMWEAVER_GLOBS": "docs-*, wiki"}).globs == ("docs-*", "wiki")


def test_an_empty_variable_counts_as_not_set():
    assert config.read(Example, {"BLOOMWEAVER_PORT": ""}).port == 8080


def test_a_misspelt_variable_is_refused_with_the_nearest_name():
    assert "BLOOMWEAVER_PROT is not a setting; did you mean BLOOMWEAVER_PORT?" in refusal(
        Example, {"BLOOMWEAVER_PROT": "9"}
    )


def test_a_variable_of_another_part_is_no_mistake():
    assert config.read(Example, {"BLOOMWEAVER_URL": "http://127.0.0.1:1"}).port == 8080


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BLOOMWEAVER_SEARCH_SERVICE_HOST", "10.0.0.1"),
        ("BLOOMWEAVER_SEARCH_SERVICE_PORT", "80"),
        ("BLOOMWEAVER_SEARCH_SERVICE_PORT_HTTP", "80"),
        ("BLOOMWEAVER_SEARCH_PORT", "tcp://10.0.0.1:80"),
        ("BLOOMWEAVER_SEARCH_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("BLOOMWEAVER_PORT", "tcp://10.0.0.1:80"),
    ],
)
def test_what_kubernetes_tells_about_services_is_not_taken_for_a_setting(name: str, value: str):
    assert config.read(Example, {name: value}).port == 8080


def test_everything_that_is_wrong_is_said_at_once():
    text = refusal(Example, {"BLOOMWEAVER_PORT": "70000", "BLOOMWEAVER_GLOBZ": "x"})
    assert "BLOOMWEAVER_PORT: Input should be less than or equal to 65535" in text
    assert "BLOOMWEAVER_GLOBZ is not a setting" in text


def test_a_missing_variable_is_named():
    assert "BLOOMWEAVER_ADDRESS must be set" in refusal(Demanding, {})


def test_a_secret_never_shows_its_value():
    settings = config.read(Example, {"BLOOMWEAVER_TOKEN": "hunter2"})
    assert settings.token is not None
    assert settings.token.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in refusal(Example, {"BLOOMWEAVER_TOKEN": "hunter2", "BLOOMWEAVER_PORT": "hunter2"})


def test_a_secret_can_be_a_mounted_file(tmp_path: pathlib.Path):
    (tmp_path / "token").write_text("hunter2\n", encoding="utf-8")
    settings = config.read(Example, {"BLOOMWEAVER_TOKEN_FILE": str(tmp_path / "token")})
    assert settings.token == pydantic.SecretStr("hunter2")


@pytest.mark.parametrize("content", [None, b"", b"\xff"])
def test_a_secret_file_that_cannot_be_used_is_refused(tmp_path: pathlib.Path, content: bytes | None):
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    assert "BLOOMWEAVER_TOKEN_FILE: " in refusal(Example, {"BLOOMWEAVER_TOKEN_FILE": str(tmp_path / "token")})


def test_a_secret_given_twice_is_refused(tmp_path: pathlib.Path):
    (tmp_path / "token").write_text("a", encoding="utf-8")
    text = refusal(Example, {"BLOOMWEAVER_TOKEN_FILE": str(tmp_path / "token"), "BLOOMWEAVER_TOKEN": "b"})
    assert "set either this or BLOOMWEAVER_TOKEN, not both" in text


def test_settings_never_change():
    with pytest.raises(pydantic.ValidationError):
        config.read(Example, {}).port = 1


def test_the_description_names_type_default_and_secrecy():
    assert config.describe(Example) == (
        config.Variable("BLOOMWEAVER_PORT", "int", "8080", "Port to listen on.", secret=False),
        config.Variable("BLOOMWEAVER_GLOBS", "tuple[str, ...]", "*", "What to take.", secret=False),
        config.Variable(
            "BLOOMWEAVER_TOKEN", "SecretStr | None", "not set", "Shared secret; None means open.", secret=True
        ),
    )
    assert config.describe(Demanding)[0].default is None
