"""Options that many commands share, each described once."""

import pathlib
from typing import Annotated

import typer

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="Address of the server [BLOOMWEAVER_URL].", show_default=False),
]
Data = Annotated[
    pathlib.Path | None,
    typer.Option("--data", metavar="DIR", help="Data folder with the key [BLOOMWEAVER_DATA].", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
Collection = Annotated[str, typer.Option("--collection", "-c", metavar="NAME", help="Name of the collection.")]
MaybeCollection = Annotated[
    str | None, typer.Option("--collection", "-c", metavar="NAME", help="Only this collection.", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Document = Annotated[
    str,
    typer.Argument(metavar="DOC", help="Id of the document, also as COLLECTION/ID.", show_default=False),
]
