"""The command line. It imports little before it knows which command is meant, so that help and search come at once.

Whatever goes wrong ends here in three sentences on stderr and an exit code that scripts can rely on.
"""

import sys
from types import TracebackType
from typing import Annotated

import typer
from typer import main as typer_main

import bloomweaver
from bloomweaver.cli import failures, screen
from bloomweaver.cli.commands import (
    collecting,
    completing,
    dead_letters,
    inspecting,
    keys,
    pushing,
    searching,
    serving,
    standing,
    trying,
)
from bloomweaver.domain import errors

HELP = "Keeps a vector index in step with changing content: what you sent is what is searchable, and you can prove it."
BEGIN, USE, ANSWER, KEEP = "Begin", "Send and search", "Ask why", "Keep it running"


def _version(asked: bool) -> None:  # noqa: FBT001 - the shape of an option's callback
    if asked:
        typer.echo(f"bloomweaver {bloomweaver.__version__}")
        raise typer.Exit


def _options(
    *,
    version: Annotated[  # noqa: ARG001 - its callback has ended the program
        bool, typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_version)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an unforeseen error.")] = False,
) -> None:
    if debug:
        sys.excepthook = sys.__excepthook__


def create_app() -> typer.Typer:
    """All commands."""
    made = typer.Typer(
        name="bloomweaver",
        help=HELP,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(_options)
    made.command("try", rich_help_panel=BEGIN)(trying.try_)
    made.command(rich_help_panel=BEGIN)(serving.dev)
    made.command(rich_help_panel=BEGIN)(inspecting.doctor)
    made.command(rich_help_panel=USE)(pushing.push)
    made.command(rich_help_panel=USE)(standing.wait)
    made.command(rich_help_panel=USE)(searching.search)
    made.command(rich_help_panel=ANSWER)(standing.status)
    made.command(rich_help_panel=ANSWER)(standing.why)
    made.command(rich_help_panel=ANSWER)(standing.retry)
    made.command("dead-letters", rich_help_panel=ANSWER)(dead_letters.dead_letters)
    made.command(rich_help_panel=ANSWER)(dead_letters.redrive)
    made.command(rich_help_panel=ANSWER)(inspecting.audit)
    made.add_typer(collecting.app, name="collections", rich_help_panel=KEEP)
    made.add_typer(keys.app, name="keys", rich_help_panel=KEEP)
    made.command(rich_help_panel=KEEP)(inspecting.models)
    made.command(rich_help_panel=KEEP)(serving.migrate)
    made.command(rich_help_panel=KEEP)(completing.completion)
    return made


app = create_app()


def main() -> None:
    """The program."""
    sys.excepthook = _unforeseen
    try:
        # Not `app()`: that puts its own hook in the place of ours.
        typer_main.get_command(app)(prog_name="bloomweaver")
    except failures.Failure as failure:
        _end(failure)
    except errors.BloomWeaverError as error:
        _end(failures.of_domain(error))


def _end(failure: failures.Failure) -> None:
    screen.print_failure(failure, as_json="--json" in sys.argv)
    sys.exit(int(failure.code))


def _unforeseen(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
    """A sentence instead of a traceback; the process ends with 1 anyway."""
    failure = failures.Failure(
        "Something happened that nobody foresaw.",
        why=f"{kind.__name__}: {error}",
        advice="Run it again as `bloomweaver --debug …` and report what it prints.",
    )
    screen.print_failure(failure, as_json="--json" in sys.argv)
