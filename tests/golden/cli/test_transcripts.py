"""What a person reads: the help of every command, and the main outputs. Width fixed, times masked."""

import pathlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from typer import main as typer_main

from bloomweaver.cli import main
from tests.support import golden, served, terminal

POLICY = """# Leave policy

How much leave there is, and how to ask for it.

## Parental

Parents of a new child take up to sixty days within two years.
Ask your lead four weeks ahead.

## Sick

Tell your lead before ten in the morning.
"""


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


@pytest.fixture(autouse=True)
def _width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture
async def api() -> AsyncIterator[served.Served]:
    async with served.opened() as opened:
        yield opened


@pytest.fixture
async def shell(api: served.Served, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> terminal.Terminal:
    """A terminal, and a handbook that is searchable."""
    made = terminal.Terminal(api, capsys)
    (tmp_path / "leave.md").write_text(POLICY)
    (tmp_path / "trains.txt").write_text("Trains are preferred to planes within one day of travel.\n")
    (tmp_path / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    ended = await made.run("push", str(tmp_path), "--origin", "handbook")
    golden.check("cli/push.txt", ended.masked)
    return made


@pytest.mark.parametrize(
    "path", list(commands(typer_main.get_command(main.app))), ids=lambda path: "-".join(path) or "all"
)
def test_the_help_of_every_command(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    assert main.run([*path, "--help"]) == 0
    golden.check(f"cli/help/{'-'.join(path) or 'bloomweaver'}.txt", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("search", ["search", "parental", "leave", "-n", "2"]),
        ("search-json", ["search", "parental", "leave", "-n", "1", "--json"]),
        ("search-nothing", ["search", "parental", "--filter", "team=hr"]),
        ("status", ["status"]),
        ("why", ["why", "leave.md"]),
        ("why-json", ["why", "default/leave.md", "--json"]),
        ("why-unknown", ["why", "nothing.md"]),
        ("retry-nothing", ["retry", "leave.md"]),
        ("dead-letters-none", ["dead-letters"]),
        ("collections", ["collections", "list"]),
        ("collections-create", ["collections", "create", "wiki", "--ordering", "source", "--description", "Ours"]),
        ("collections-show", ["collections", "show", "default"]),
        ("collections-delete-unasked", ["collections", "delete", "default"]),
        ("reindex-none", ["collections", "reindex", "status", "default"]),
        ("reindex-promote-none", ["collections", "reindex", "promote", "default"]),
        ("models", ["models"]),
        ("models-show-unknown", ["models", "show", "gpt"]),
        ("models-promote-nothing", ["models", "promote", "mem"]),
        ("keys-create", ["keys", "create", "reader", "--verb", "read", "-c", "hand*"]),
        ("redrive-all", ["redrive", "--all"]),
        ("redrive-which", ["redrive"]),
        ("usage", ["search", "x", "-n", "0"]),
        ("usage-filter", ["search", "x", "--filter", "team"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_the_main_outputs(shell: terminal.Terminal, name: str, arguments: list[str]):
    golden.check(f"cli/{name}.txt", (await shell.run(*arguments)).masked)


async def test_the_way_to_another_model_and_back(shell: terminal.Terminal):
    await shell.run("collections", "create", "wiki", "--model", "other")
    await shell.run("collections", "create", "default", "--model", "other")
    ended = [
        await shell.run(*arguments)
        for arguments in (
            ("models", "list"),
            ("models", "promote", "other"),
            ("models", "promote", "other", "--force"),
            ("models", "show", "mem"),
            ("models", "pin", "mem", "--json"),
            ("models", "list"),
        )
    ]
    golden.check("cli/models-and-back.txt", "\n".join(each.masked for each in ended))


async def test_a_wrong_key_and_no_key(shell: terminal.Terminal):
    wrong = f"bw_{'a' * 8}_{'b' * 43}"
    golden.check("cli/wrong-key.txt", (await shell.run("status", secret=wrong)).masked)
    golden.check("cli/no-key.txt", (await shell.run("status", secret="", BLOOMWEAVER_DATA="none")).masked)
