"""`bloomweaver push`: files, folders, NDJSON or standard input, followed until they are searchable."""

from pathlib import Path
from typing import Annotated

import typer

from bloomweaver.cli import failures, options, screen, surroundings


def push(
    context: typer.Context,
    *,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Folders, files, .ndjson files of events, - for events from stdin."),
    ],
    collection: options.Collection = "default",
    create: Annotated[bool, typer.Option("--create", help="Make the collection if there is none (admin).")] = False,
    include: Annotated[
        list[str] | None, typer.Option("--include", "-i", metavar="GLOB", help="Only these files; can be repeated.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", "-x", metavar="GLOB", help="Not these files; can be repeated.")
    ] = None,
    hidden: Annotated[bool, typer.Option("--hidden", help="Also names that begin with a dot.")] = False,
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="TEXT", help="Put this in front of every document id.")
    ] = "",
    origin: Annotated[
        str | None,
        typer.Option("--origin", metavar="NAME", help="Name of where this comes from, instead of the folder's path."),
    ] = None,
    document_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="With -: stdin is one document with this id.")
    ] = None,
    delete_missing: Annotated[
        bool, typer.Option("--delete-missing", help="Delete what was pushed from here before and is gone.")
    ] = False,
    yes: options.Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on and push what changes, until Ctrl-C.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="End when everything is accepted.")] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout", metavar="SECONDS", min=0.0, help="How long to wait for searchable; then 5.", show_default=False
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", metavar="N", min=1, max=32, help="Calls at the same time.")
    ] = 4,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Send documents, and wait until they are searchable.

    Unchanged files are free, binary ones are skipped. Ctrl-C loses nothing: the same command goes on.
    """
    from bloomweaver.cli.pushing import pusher, selection

    wish = pusher.Wish(
        collection=collection,
        create=create,
        chosen=selection.Selection(tuple(include or ()), tuple(exclude or ()), hidden),
        prefix=prefix,
        origin=origin,
        document_id=document_id,
        delete_missing=delete_missing,
        yes=yes,
        dry_run=dry_run,
        wait=not no_wait,
        timeout_seconds=timeout,
        concurrency=concurrency,
    )
    display = screen.Screen(as_json=as_json)
    pushing = pusher.Pusher(wish, paths=[Path(path) for path in paths], display=display, confirm=_confirm)
    if watch:
        pushing.check_watchable()

    async def work() -> failures.ExitCode:
        async with surroundings.of(context).api(url, data) as api:
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
    import sys

    return typer.confirm(question, default=False, err=True) if sys.stdin.isatty() else None
