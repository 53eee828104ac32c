"""docs/reference/cli.md is made from the commands themselves; `make golden-update` writes it."""

import pathlib
from collections.abc import Iterator
from typing import Any

from typer import main as typer_main

from bloomweaver.cli import failures, main, sections
from tests.support import golden

REFERENCE = pathlib.Path(__file__).parents[3] / "docs" / "reference"

INTRODUCTION = """# The command line

`bloomweaver` talks to a server over HTTP; only `try`, `dev`, `migrate` and `keys create --tenant` bring the service
along, and `models bench`, `build` and `verify` work on files here. `make golden-update` writes this page. Guides:
[push a folder](../howto/push-a-folder.md), [everyday commands](../howto/command-line.md).

## Server and key

| Variable | Option | Means | Unless set |
| --- | --- | --- | --- |
| `BLOOMWEAVER_URL` | `--url` | address of the server | `http://127.0.0.1:8080` |
| `BLOOMWEAVER_API_KEY` | | the key to send | the file `key` in the data folder, for servers of this machine |
| `BLOOMWEAVER_DATA` | `--data` | the data folder | `.bloomweaver` |

The key in the data folder is sent to loopback addresses only. There is no option for a key: it would be seen in the
list of processes.

## Output

Results go to stdout, everything else to stderr. `--json` prints one JSON document on stdout (one per line with
`push --watch`), errors included: `{"error": {"what", "why", "next", "reason", "link", "exit_code"}}`. Colours and
bars appear on a terminal only; `NO_COLOR` turns colours off. Elsewhere progress is a line every 5 seconds.
Errors have three parts: what, why, what next; and a link where more is written.
`bloomweaver --version` prints the version, `--debug` in front of a command shows the traceback of an unforeseen error.

## Exit codes

| Code | Means |
| --- | --- |
"""

CODES = {
    failures.ExitCode.OK: "all is well; after `push` and `wait`: everything is searchable",
    failures.ExitCode.FAILED: "something failed: a document, a refused event, an audit, something is not there",
    failures.ExitCode.USAGE: "the command cannot be meant, or the server refused its values",
    failures.ExitCode.UNREACHABLE: "the server cannot be reached, is busy for too long, or is not ready",
    failures.ExitCode.NOT_ALLOWED: "there is no valid key, or it may not do this",
    failures.ExitCode.IN_PROGRESS: "`--timeout` has passed; the rest is still on its way",
    failures.ExitCode.INTERRUPTED: "Ctrl-C; what was acknowledged stays",
}


def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", {})
    if not children or command.invoke_without_command:
        yield path, command
    for name, child in children.items():
        yield from leaves(child, f"{path} {name}")


def section(path: str, command: Any) -> str:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    shown = " ".join(name(argument) for argument in arguments)
    first, _, rest = command.help.partition("\n")
    text = f"### `{path}{' ' + shown if shown else ''}`\n\n{first.strip()}"
    text += f" {' '.join(rest.split())}\n" if rest.strip() else "\n"
    rows = [f"| `{name(argument)}` | {argument.help} |" for argument in arguments]
    for option in options:
        value = "" if option.is_flag else f" {option.metavar or 'VALUE'}"
        spelt = ", ".join(f"`{spelling}{value}`" for spelling in sorted(option.opts, key=len, reverse=True))
        rows.append(f"| {spelt.replace('|', chr(92) + '|')} | {option.help} |")
    return text + "\n| | |\n| --- | --- |\n" + "\n".join(rows) + "\n"


def name(argument: Any) -> str:
    shown = argument.metavar or argument.name.upper()
    shown = f"{shown}..." if argument.nargs == -1 else shown
    return shown if argument.required else f"[{shown}]"


def page() -> str:
    app = typer_main.get_command(main.app)
    text = INTRODUCTION + "".join(f"| {int(code)} | {meaning} |\n" for code, meaning in CODES.items())
    for title, names in sections.SECTIONS.items():
        text += f"\n## {title}\n"
        for child in names:
            for path, command in leaves(app.commands[child], f"bloomweaver {child}"):  # type: ignore[attr-defined]  # a group
                text += f"\n{section(path, command)}"
    return text


def test_every_exit_code_is_explained():
    assert set(CODES) == set(failures.ExitCode)


def test_every_command_is_in_a_section():
    app: Any = typer_main.get_command(main.app)
    listed = [name for names in sections.SECTIONS.values() for name in names]
    assert sorted(listed) == sorted(app.commands)


def test_the_reference_is_what_the_commands_say():
    golden.check("cli.md", page(), folder=REFERENCE)
