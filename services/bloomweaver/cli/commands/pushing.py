"""`bloomweaver push`: files, folders, NDJSON or standard input, followed until they are searchable."""

import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bloomweaver.cli import failures, options, screen, surroundings

if TYPE_CHECKING:
    from bloomweaver.cli import client
    from bloomweaver.cli.pushing import pusher

Paths = Annotated[
    list[str],
    typer.Argument(metavar="PATH", help="Folders, files, .ndjson files of events, - for events from stdin."),
]
Create = Annotated[bool, typer.Option("--create", help="Make the collection if there is none (admin).")]
Include = Annotated[
    list[str] | None, typer.Option("--include", "-i", metavar="GLOB", help="Only these files; can be repeated.")
]
Exclude = Annotated[
    list[str] | None, typer.Option("--exclude", "-x", metavar="GLOB", help="Not these files; can be repeated.")
]
Hidden = Annotated[bool, typer.Option("--hidden", help="Also names that begin with a dot.")]
Prefix = Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Put this in front of every document id.")]
Origin = Annotated[
    str | None,
    typer.Option("--origin", metavar="NAME", help="Name of where this comes from, instead of the folder's path."),
]
DocumentId = Annotated[
    str | None, typer.Option("--id", metavar="ID", help="With -: stdin is one document with this id.")
]
DeleteMissing = Annotated[
    bool, typer.Option("--delete-missing", help="Delete what was pushed from here before and is gone.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Watch = Annotated[bool, typer.Option("--watch", help="Go on and push what changes, until Ctrl-C.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="End when everything is accepted.")]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout", metavar="SECONDS", min=0.0, help="How long to wait for searchable; then 5.", show_default=False
    ),
]
Concurrency = Annotated[int, typer.Option("--concurrency", metavar="N", min=1, max=32, help="Calls at the same time.")]


def push(
    context: typer.Context,
    *,
    paths: Paths,
    collection: options.Collection = "default",
    create: Create = False,
    include: Include = None,
    exclude: Exclude = None,
    hidden: Hidden = False,
    prefix: Prefix = "",
    origin: Origin = None,
    document_id: DocumentId = None,
    delete_missing: DeleteMissing = False,
    yes: options.Yes = False,
    dry_run: DryRun = False,
    watch: Watch = False,
    no_wait: NoWait = False,
    timeout: Timeout = None,
    concurrency: Concurrency = 4,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Send documents, and wait until they are searchable.

    Unchanged files are free, binary ones are skipped. Ctrl-C loses nothing: the same command goes on.
    """
    from bloomweaver.cli.pushing import pusher, selection

    wish = pusher.Wish(
        place=pusher.Place(collection, create=create, prefix=prefix, origin=origin, document_id=document_id),
        chosen=selection.Selection(tuple(include or ()), tuple(exclude or ()), hidden),
        removal=pusher.Removal(missing=delete_missing, yes=yes),
        pace=pusher.Pace(wait=not no_wait, timeout_seconds=timeout, concurrency=concurrency),
        dry_run=dry_run,
    )
    display = screen.Screen(as_json=as_json)
    pushing = pusher.Pusher(wish, paths=[Path(path) for path in paths], display=display, confirm=_confirm)
    _run(pushing, display, lambda: surroundings.of(context).api(url, data), watch=watch)


def _run(
    pushing: "pusher.Pusher",
    display: screen.Screen,
    open_api: "Callable[[], AbstractAsyncContextManager[client.Api]]",
    *,
    watch: bool,
) -> None:
    if watch:
        pushing.check_watchable()

    async def work() -> failures.ExitCode:
        async with open_api() as api:
            return await (pushing.watch(api) if watch else pushing.push(api))

    try:
        code = surroundings.run(work())
    except failures.Failure as failure:
        pushing.explain_stop(failure)
        raise
    display.json(pushing.account)
    if code is not failures.ExitCode.OK:
        raise typer.Exit(code)


def _confirm(question: str) -> bool | None:
    """The person's answer; None where nobody can be asked."""
    return typer.confirm(question, default=False, err=True) if sys.stdin.isatty() else None
