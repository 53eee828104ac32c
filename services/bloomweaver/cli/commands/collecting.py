"""`bloomweaver collections`: make, look, delete, and the steps of a re-index."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bloomweaver.cli import failures, options, screen, surroundings, wording

if TYPE_CHECKING:
    from bloomweaver.cli import client

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, create, show, delete, re-index.")
reindex = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="How far a re-index is; cut over, go back, give up."
)
app.add_typer(reindex, name="reindex")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the collection.", show_default=False)]
Force = Annotated[bool, typer.Option("--force", help="Also if some documents are not ready.")]


@app.command("list")
def list_all(
    context: typer.Context, *, as_json: options.AsJson = False, url: options.Url = None, data: options.Data = None
) -> None:
    """List collections with their model and their documents."""
    display = screen.Screen(as_json=as_json)

    async def work() -> None:
        async with surroundings.of(context).api(url, data) as api:
            items = [item async for item in api.pages("/v1/collections")]
            display.json({"items": items})
            if not as_json:
                rows = [
                    [item["name"], item["model"], item["ordering"], f"{_documents(item):,}", item["reindex"]["state"]]
                    for item in items
                ]
                heads = ("collection", "model", "ordering", "documents", "re-index")
                display.table(heads, rows, numbers=("documents",))

    surroundings.run(work())


Model = Annotated[str | None, typer.Option("--model", metavar="MODEL", help="Embedding model; `models` lists them.")]
Ordering = Annotated[
    str | None, typer.Option("--ordering", metavar="arrival|source", help="What orders changes; fixed for ever.")
]
MaxTokens = Annotated[int | None, typer.Option("--max-tokens", metavar="N", min=1, help="Longest chunk, in tokens.")]
OverlapTokens = Annotated[
    int | None, typer.Option("--overlap-tokens", metavar="N", min=0, help="Shared by neighbours.")
]
Description = Annotated[str | None, typer.Option("--description", metavar="TEXT", help="What it is for.")]


@app.command()
def create(
    context: typer.Context,
    *,
    name: Name,
    model: Model = None,
    ordering: Ordering = None,
    max_tokens: MaxTokens = None,
    overlap_tokens: OverlapTokens = None,
    description: Description = None,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Make a collection, or change it.

    Another model or chunking begins a re-index.
    """
    chunking = {"max_tokens": max_tokens, "overlap_tokens": overlap_tokens}
    given = {name: value for name, value in chunking.items() if value is not None}
    body = {"model": model, "ordering": ordering, "chunking": given or None, "description": description}
    display = screen.Screen(as_json=as_json)

    async def work() -> None:
        from bloomweaver.cli import client

        async with surroundings.of(context).api(url, data) as api:
            answer = await api.put(
                client.collection_path(name), {key: value for key, value in body.items() if value is not None}
            )
            display.json(answer)
            _show(answer, display=display)

    surroundings.run(work())


@app.command()
def show(
    context: typer.Context,
    *,
    name: Name,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Show one collection."""
    display = screen.Screen(as_json=as_json)

    async def work() -> None:
        async with surroundings.of(context).api(url, data) as api:
            await print_one(api, name, display=display)

    surroundings.run(work())


@app.command()
def delete(
    context: typer.Context,
    *,
    name: Name,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Delete a collection with all its documents."""
    import sys

    if not yes and sys.stdin.isatty():
        yes = typer.confirm(f"Delete '{name}' and all its documents?", default=False, err=True)
    if not yes:
        raise failures.usage("Nothing is deleted.", advice="Say --yes if the collection and all in it shall go.")
    display = screen.Screen(as_json=as_json)

    async def work() -> None:
        from bloomweaver.cli import client

        async with surroundings.of(context).api(url, data) as api:
            display.json(await api.delete(client.collection_path(name), confirm=name))
            display.show(f"'{wording.one_line(name)}' is deleted; what is left of it is removed in the background.")

    surroundings.run(work())


@reindex.command("status")
def reindex_status(
    context: typer.Context,
    *,
    name: Name,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Say how far a re-index is."""
    _step(context, name, None, screen.Screen(as_json=as_json), url=url, data=data)


@reindex.command()
def promote(
    context: typer.Context,
    *,
    name: Name,
    force: Force = False,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Search what was built, from now on."""
    _step(context, name, "promote", screen.Screen(as_json=as_json), url=url, data=data, force=force)


@reindex.command()
def rollback(
    context: typer.Context,
    *,
    name: Name,
    force: Force = False,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Search again what was searched before the last promotion."""
    _step(context, name, "rollback", screen.Screen(as_json=as_json), url=url, data=data, force=force)


@reindex.command()
def cancel(
    context: typer.Context,
    *,
    name: Name,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Give up what is being built."""
    _step(context, name, "cancel", screen.Screen(as_json=as_json), url=url, data=data)


def _step(
    context: typer.Context,
    name: str,
    step: str | None,
    display: screen.Screen,
    *,
    url: options.Url,
    data: options.Data,
    force: bool = False,
) -> None:
    async def work() -> None:
        from bloomweaver.cli import client

        async with surroundings.of(context).api(url, data) as api:
            if step is None:
                answer = await api.get(client.collection_path(name, "reindex"))
            else:
                path = client.collection_path(name, "reindex", step)
                answer = await api.post(path, force="true" if force else None)
            display.json(answer)
            display.show(reindex_line(name, answer))

    surroundings.run(work())


async def print_one(api: "client.Api", name: str, *, display: screen.Screen) -> None:
    """Print one collection."""
    from bloomweaver.cli import client

    answer = await api.get(client.collection_path(name))
    display.json(answer)
    _show(answer, display=display)


def _show(answer: dict[str, Any], *, display: screen.Screen) -> None:
    chunking = answer["chunking"]
    counts = ", ".join(f"{number:,} {state}" for state, number in answer["counts"].items() if number)
    display.show(
        f"{wording.one_line(answer['name'])}  {wording.one_line(answer.get('description') or '')}".rstrip(),
        f"  model      {wording.one_line(answer['model'])}",
        f"  ordering   {answer['ordering']}",
        f"  chunking   at most {chunking['max_tokens']} tokens, {chunking['overlap_tokens']} shared",
        f"  documents  {counts or 'none'}",
    )
    if answer.get("oldest_pending_age_seconds") is not None:
        display.show(f"  waiting    the oldest change for {wording.age(answer['oldest_pending_age_seconds'])}")
    if answer["reindex"]["state"] != "none":
        display.show(f"  re-index   {reindex_line(answer['name'], answer['reindex'])}")


def reindex_line(name: str, answer: dict[str, Any]) -> str:
    """A re-index in a sentence."""
    name = wording.one_line(name)
    if answer["state"] == "none":
        return f"'{name}' has no re-index."
    done = f"{answer['done']:,} of {answer['total']:,} documents ready, {answer['failed']:,} failed"
    if answer["state"] == "soaking":
        return (
            f"'{name}' was cut over; `collections reindex rollback {name}` goes back to "
            f"{wording.one_line(answer.get('model'))} until {wording.bare(answer.get('soak_until'))}."
        )
    gate = answer.get("gate") or {}
    following = f"`collections reindex promote {name}` cuts over" if gate.get("open") else "the gate is shut"
    return f"'{name}' is being built for {wording.one_line(answer.get('model'))}: {done}; {following}."


def _documents(item: dict[str, Any]) -> int:
    return sum(number for state, number in item["counts"].items() if state != "deleted")
