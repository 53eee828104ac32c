"""Failed documents: `dead-letters` lists them with the cause, `redrive` sends them on their way again."""

from typing import Annotated

import typer

from bloomweaver.cli import failures, options, screen, surroundings, wording

Reason = Annotated[
    str | None, typer.Option("--reason", metavar="REASON", help="Only what failed for it.", show_default=False)
]


def dead_letters(
    context: typer.Context,
    *,
    reason: Reason = None,
    collection: options.MaybeCollection = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=1000, help="How many to print.")] = 50,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """List failed documents: cause, and what to do."""
    display = screen.Screen(as_json=as_json)

    async def work() -> None:
        async with surroundings.of(context).api(url, data) as api:
            answer = await api.get("/v1/dead-letters", reason=reason, collection=collection, limit=limit)
        display.json(answer)
        for item in answer["items"]:
            cause = item.get("reason") or ""
            display.show(
                f"{wording.one_line(item['collection'])}/{wording.one_line(item['document_id'])}  {cause}  "
                f"{wording.count(item['attempts'], 'attempt')}, last {wording.bare(item.get('last_failure_at'))}",
                *([f"  why   {wording.one_line(item['detail'])}"] if item.get("detail") else []),
                f"  next  {failures.next_of(cause)}",
            )
        if not answer["items"]:
            display.show("Nothing failed.")
        elif answer.get("next_cursor"):
            display.note("There are more: raise --limit, or narrow with --reason or --collection.")

    surroundings.run(work())


def redrive(
    context: typer.Context,
    *,
    documents: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Ids within --collection; all if omitted.")
    ] = None,
    reason: Reason = None,
    collection: options.MaybeCollection = None,
    everything: Annotated[bool, typer.Option("--all", help="Every failed document of the tenant.")] = False,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Try failed documents again.

    Those named, those of a reason or of a collection, or --all.
    """
    if not (documents or reason or collection or everything):
        raise failures.usage("Say which documents.", advice="Name ids, a --reason, a --collection, or --all.")
    if documents and collection is None:
        raise failures.usage("Ids need their --collection.")
    body = {"documents": documents or None, "reason": reason, "collection": collection}
    display = screen.Screen(as_json=as_json)

    async def work() -> None:
        async with surroundings.of(context).api(url, data) as api:
            given = {name: value for name, value in body.items() if value is not None}
            answer = await api.post("/v1/dead-letters/redrive", given)
            display.json(answer)
            display.show(f"{wording.count(answer['redriven'], 'document')} on the way again.")

    surroundings.run(work())
