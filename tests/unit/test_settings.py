"""The settings of all services: their names, their defaults, their page."""

import pathlib

import pytest

from bloomweaver.allinone import settings as dev
from bloomweaver.domain import errors
from bloomweaver.runtime import config, settings
from bloomweaver.webhook import settings as webhook
from bloomweaver.writer import settings as writer
from tests.support import golden, settings_reference

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"
STORE = {"BLOOMWEAVER_STORE": "sqlite:////data/ledger.db"}
IMAGES = {"BLOOMWEAVER_CPU_IMAGE": "embedder:1", "BLOOMWEAVER_GPU_IMAGE": "embedder-torch:1"}
SECRET = "5e" * 32


def test_the_page_of_settings_is_what_the_settings_say():
    golden.check(PAGE.name, settings_reference.page(PAGE.read_text(encoding="utf-8")), folder=PAGE.parent)


@pytest.mark.parametrize(
    "kind", [*settings_reference.SERVICES.values(), dev.DevSettings], ids=lambda kind: kind.__name__
)
def test_what_any_service_reads_is_no_mistake_in_the_environment_of_another(kind: type[config.ServiceSettings]):
    everything = {
        variable.name: variable.default if variable.default not in (None, "not set") else ""
        for service in settings_reference.SERVICES.values()
        for variable in config.describe(service)
    }
    told = {name: value or "" for name, value in everything.items()}
    found = config.read(kind, {**told, **STORE, **IMAGES, "BLOOMWEAVER_SECRET": SECRET})
    assert isinstance(found, kind)


@pytest.mark.parametrize("name", settings_reference.SERVICES)
def test_services_listen_on_this_machine_only_unless_told_otherwise(name: str):
    found = config.read(settings_reference.SERVICES[name], {**STORE, **IMAGES, "BLOOMWEAVER_SECRET": SECRET})
    assert isinstance(found, settings.ProcessSettings)
    assert found.host == "127.0.0.1"


def test_all_services_can_run_side_by_side_on_one_machine():
    ports = {kind.model_fields["port"].default for kind in settings_reference.SERVICES.values()}
    assert len(ports) == len(settings_reference.SERVICES)


def test_a_store_that_only_one_process_sees_is_refused():
    with pytest.raises(errors.ConfigurationError, match="private to one process"):
        config.read(writer.WriterSettings, {"BLOOMWEAVER_STORE": "mem://"})


def test_an_operation_that_does_not_exist_is_refused_by_name():
    with pytest.raises(errors.ConfigurationError, match="BLOOMWEAVER_OPERATION"):
        config.read(writer.WriterSettings, {**STORE, "BLOOMWEAVER_OPERATION": "upsert"})


@pytest.mark.parametrize("secret", ["", "5e", "xy" * 32])
def test_a_secret_of_another_form_is_refused_and_not_repeated(secret: str):
    with pytest.raises(errors.ConfigurationError) as caught:
        config.read(webhook.WebhookSettings, {**STORE, "BLOOMWEAVER_SECRET": secret})
    assert not secret or f"{secret}:" not in caught.value.detail
    assert "xyxy" not in caught.value.detail


def test_values_in_force_are_shown_without_secrets():
    found = config.read(webhook.WebhookSettings, {**STORE, "BLOOMWEAVER_SECRET": SECRET})
    shown = config.values(found)
    assert shown["BLOOMWEAVER_SECRET"] == config.MASKED
    assert SECRET not in repr(found) + str(shown)


def test_a_password_that_was_changed_in_its_file_is_found_without_a_restart(tmp_path: pathlib.Path):
    file = tmp_path / "password"
    file.write_text("before\n")
    found = config.read(writer.WriterSettings, {**STORE, "BLOOMWEAVER_POSTGRESQL_PASSWORD_FILE": str(file)})
    assert found.password() == "before"
    file.write_text("after\n")
    assert found.password() == "after"
    file.unlink()
    assert found.password() == "before"
    assert "after" not in repr(found)
