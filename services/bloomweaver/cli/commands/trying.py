"""`bloomweaver try`: the promise, shown on your documents in one process."""

from pathlib import Path
from typing import Annotated

import typer

from bloomweaver.cli import options, screen, surroundings


def try_(
    context: typer.Context,
    *,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of text, Markdown and HTML.")] = Path("docs"),
    as_json: options.AsJson = False,
    data: options.Data = None,
) -> None:
    """Ingest a folder, search it, edit, delete, ask why.

    The whole service runs in this process, over the data folder. Nothing in DIR is changed. What was ingested stays:
    `dev` serves it.
    """
    from bloomweaver.cli import trial
    from bloomweaver.cli.commands import serving

    around = surroundings.of(context)
    settings = serving.settings_of(around.variables)
    surroundings.run(trial.run(folder, around.data(data), settings, display=screen.Screen(as_json=as_json)))
