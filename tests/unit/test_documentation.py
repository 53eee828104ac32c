"""The docs name what the code has, and their links lead somewhere."""

import importlib
import inspect
import pathlib
import pkgutil
import re
from collections.abc import Iterator

import pytest

import bloomweaver
from bloomweaver.domain import reasons
from bloomweaver.runtime import config

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
    assert sorted(mentioned - names - secret_files - {"BLOOMWEAVER_GOLDEN_UPDATE"}) == []
