"""The docs name what the code has, and their links lead somewhere."""

import importlib
import inspect
import pathlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import prometheus_client
import pytest
import typer
import typer.main

import bloomweaver
from bloomweaver.domain import reasons
from bloomweaver.runtime import config, metrics

ROOT = pathlib.Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "services").rglob("*.md")])

LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
INLINE_CODE = re.compile(r"`[^`\n]*`")


def page(name: str) -> str:
    file = REFERENCE / name
    if not file.is_file():
        pytest.fail(f"docs/reference/{name} is missing", pytrace=False)
    return file.read_text(encoding="utf-8")


def settings() -> Iterator[type[config.ServiceSettings]]:
    for module in pkgutil.walk_packages(bloomweaver.__path__, "bloomweaver."):
        if module.name.endswith(".settings"):
            for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
                if issubclass(kind, config.ServiceSettings) and kind.__module__ == module.name:
                    yield kind


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ +(.+?) *#*$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_of_a_page_lead_somewhere(path: pathlib.Path):
    text = path.read_text(encoding="utf-8")
    broken = []
    for target in LINK.findall(INLINE_CODE.sub("", FENCED.sub("", text))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        aim = (path.parent / file).resolve() if file else path
        if not aim.exists() or (anchor and aim.suffix == ".md" and anchor not in anchors(aim.read_text("utf-8"))):
            broken.append(target)
    assert broken == []


def test_every_reason_is_documented():
    text = page("reasons.md")
    assert [reason.value for reason in reasons.Reason if f"`{reason.value}`" not in text] == []


def test_every_variable_is_documented():
    text = page("configuration.md")
    names = {variable.name for kind in settings() for variable in config.describe(kind)} | config.SHARED_VARIABLES
    assert sorted(name for name in names if f"`{name}`" not in text) == []


def test_every_setting_says_what_it_is_for():
    described = [(kind, variable) for kind in settings() for variable in config.describe(kind)]
    assert [f"{kind.__module__}: {variable.name}" for kind, variable in described if not variable.description] == []


def test_the_docs_name_no_variable_that_nothing_reads():
    names = {variable.name for kind in settings() for variable in config.describe(kind)} | config.SHARED_VARIABLES
    secret_files = {name + "_FILE" for name in names}
    mentioned = {
        found for path in PAGES for found in re.findall(r"\bBLOOMWEAVER_[A-Z0-9_]+\b", path.read_text(encoding="utf-8"))
    }
    tests = [*(ROOT / "tests" / "support" / "servers").glob("*.py"), *(ROOT / "tests" / "e2e").glob("*.py")]
    of_tests = {
        found
        for path in tests
        for found in re.findall(r"\bBLOOMWEAVER_(?:TEST|E2E)_[A-Z0-9_]+\b", path.read_text("utf-8"))
    }
    assert sorted(mentioned - names - secret_files - of_tests - {"BLOOMWEAVER_GOLDEN_UPDATE"}) == []


def test_every_metric_is_documented():
    text = page("metrics.md")
    registry = prometheus_client.CollectorRegistry()
    metrics.Metrics(registry, version="0")
    assert [family.name for family in registry.collect() if f"`{family.name}" not in text] == []


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """(`bloomweaver keys create`, the command) for each command that does something."""
    children = getattr(command, "commands", {})
    if not children:
        yield path, command
    for name, child in children.items():
        if not child.hidden:
            yield from commands(child, f"{path} {name}")


def test_every_command_and_option_is_documented():
    app = importlib.import_module("bloomweaver.cli.main").app
    assert isinstance(app, typer.Typer)
    text = page("cli.md")
    missing = []
    for path, command in commands(typer.main.get_command(app), "bloomweaver"):
        options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        missing += [path] if f"`{path}" not in text else []
        missing += [f"{path} {option}" for option in sorted(options - {"--help"}) if f"`{option}" not in text]
    assert missing == []
