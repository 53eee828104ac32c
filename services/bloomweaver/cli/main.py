"""The command line. It imports little before it knows which command is meant, so that help and search come at once.

Whatever goes wrong ends here in three sentences on stderr and an exit code that scripts can rely on.
"""

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Annotated

import typer
from typer import main as typer_main

import bloomweaver
from bloomweaver.cli import failures, parameters, screen, sections, surroundings
from bloomweaver.cli.commands import (
    collecting,
    completing,
    dead_letters,
    inspecting,
    keys,
    model_files,
    pushing,
    searching,
    serving,
    standing,
    trying,
)
from bloomweaver.domain import errors
from bloomweaver.runtime import environment

HELP = "Keeps a vector index in step with changing content: what you sent is what is searchable, and you can prove it."


def _version(asked: bool) -> None:  # noqa: FBT001 - the shape of an option's callback
    if asked:
        typer.echo(f"bloomweaver {bloomweaver.__version__}")
        raise typer.Exit


def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_version)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an unforeseen error.")] = False,
) -> None:
    """The options of the program itself; `main` has looked at them."""


def create_app() -> typer.Typer:
    """All commands."""
    made = typer.Typer(
        name="bloomweaver",
        cls=sections.Sectioned,
        help=HELP,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    made.callback()(_options)
    made.command("try")(trying.try_)
    made.command()(serving.dev)
    made.command()(inspecting.doctor)
    made.command()(pushing.push)
    made.command()(standing.wait)
    made.command()(searching.search)
    made.command()(standing.status)
    made.command()(standing.why)
    made.command()(standing.retry)
    made.command("dead-letters")(dead_letters.dead_letters)
    made.command()(dead_letters.redrive)
    made.command()(inspecting.audit)
    made.add_typer(collecting.app, name="collections")
    made.add_typer(keys.app, name="keys")
    made.add_typer(model_files.app, name="models")
    made.command()(serving.migrate)
    made.command()(completing.completion)
    return made


app = create_app()


def main() -> None:
    """The program."""
    if "--debug" not in sys.argv:
        sys.excepthook = _unforeseen
    if completing.VARIABLE in environment.read():
        completing.begin()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str], around: surroundings.Surroundings | None = None) -> int:
    """Run one command, and say what went wrong if something did; gives the exit code."""
    parameters.install()
    try:
        # Not `app()`: that puts its own hook in the place of ours.
        typer_main.get_command(app).main(list(arguments), prog_name="bloomweaver", obj=around)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    except failures.Failure as failure:
        return _end(failure, arguments)
    except errors.BloomWeaverError as error:
        return _end(failures.of_domain(error), arguments)
    return 0


def _end(failure: failures.Failure, arguments: Sequence[str]) -> int:
    screen.print_failure(failure, as_json="--json" in arguments)
    return int(failure.code)


def _unforeseen(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
    """A sentence instead of a traceback; the process ends with 1 anyway."""
    failure = failures.Failure(
        "Something happened that nobody foresaw.",
        why=f"{kind.__name__}: {error}",
        advice="Run it again as `bloomweaver --debug …` and report what it prints.",
    )
    screen.print_failure(failure, as_json="--json" in sys.argv)
