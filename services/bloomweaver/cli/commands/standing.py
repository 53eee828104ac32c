"""How things stand: `status`, `why`, `wait`, `retry`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bloomweaver.cli import failures, options, screen, surroundings, wording

if TYPE_CHECKING:
    from bloomweaver.cli import client

STATES: Final = ("searchable", "updating", "indexing", "pending", "failed")
WAITING: Final = frozenset({"pending", "indexing", "updating"})

_PLACES: Final = {
    "queued": "at embed",
    "waiting_for_embedder": "at embed",
    "waiting_for_writer": "at write",
    "waiting_for_store": "at confirm",
    "retry_scheduled": "until the next try",
    "throttled": "until the next try",
    "pipeline_unavailable": "for a worker of its model",
}


def status(
    context: typer.Context,
    *,
    collection: options.MaybeCollection = None,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Say what is searchable, what waits, what failed."""
    display = screen.Screen(as_json=as_json)

    async def work() -> None:
        async with surroundings.of(context).api(url, data) as api:
            if collection is not None:
                from bloomweaver.cli.commands import collecting

                await collecting.print_one(api, collection, display=display)
                return
            answer = await api.get("/v1/status")
            listed = [item async for item in api.pages("/v1/collections")]
            display.json({**answer, "collections": listed})
            if not as_json:
                _print_status(answer, listed, api, display=display)

    surroundings.run(work())


def _print_status(
    answer: dict[str, Any], listed: list[dict[str, Any]], api: "client.Api", display: screen.Screen
) -> None:
    display.show(f"BloomWeaver {wording.safe(answer.get('version', '?'))} at {api.target.url}", "")
    rows = [
        [
            item["name"],
            item["model"],
            *(f"{item['counts'].get(state, 0):,}" for state in STATES),
            wording.age(item.get("oldest_pending_age_seconds")),
        ]
        for item in listed
    ]
    heads = ("collection", "model", *STATES, "oldest waiting")
    display.table(heads, rows, numbers=(*STATES, "oldest waiting"))
    lines = list(deployment_lines(answer))
    display.show(*(["", *lines] if lines else []))
    failed = sum(item["counts"].get("failed", 0) for item in listed)
    if failed:
        display.show("", f"{wording.count(failed, 'document')} failed: `bloomweaver dead-letters` says why.")


def deployment_lines(answer: dict[str, Any]) -> Iterator[str]:
    """What only a key with the verb admin is told: embedders, queues that hold something, stores."""
    embedders = answer.get("embedders") or []
    if embedders:
        told = [f"{wording.one_line(one['model'])} ({one['waiting']:,} passages waiting)" for one in embedders]
        yield f"embedders  {', '.join(told)}"
    for name, depth in (answer.get("queues") or {}).items():
        numbers = [f"{depth[key]:,} {key.replace('_', ' ')}" for key in ("visible", "in_flight", "delayed", "dead")]
        if any(depth[key] for key in ("visible", "in_flight", "delayed", "dead")):
            age = depth["oldest_age_seconds"]
            oldest = "unknown" if age is None else wording.age(age)
            yield f"queue      {wording.one_line(name)}: {', '.join(numbers)}, oldest {oldest}"
    stores = answer.get("stores") or {}
    if stores:
        told = [f"{name} {'ok' if one['reachable'] else one['reason']}" for name, one in stores.items()]
        yield f"stores     {wording.one_line(', '.join(told))}"


def why(
    context: typer.Context,
    *,
    document: options.Document,
    collection: options.MaybeCollection = None,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Say why a document is as it is, and what comes next."""
    display = screen.Screen(as_json=as_json)

    async def work() -> None:
        async with surroundings.of(context).api(url, data) as api:
            found = await print_why(api, *await located(api, document, collection), display=display)
            display.json(found)

    surroundings.run(work())


async def print_why(
    api: "client.Api", collection: str, document_id: str, *, display: screen.Screen, versions: int | None = None
) -> dict[str, Any]:
    """Print the timeline of a document, of its last versions where not of all; gives the answer."""
    from bloomweaver.cli import client

    answer = await api.get(client.document_path(collection, document_id, "why"))
    display.show(headline(collection, document_id, answer), f"  {wording.one_line(answer['verdict'])}")
    shown = sorted({step["seq"] for step in answer["timeline"]})[-(versions or 0) :]
    for step in answer["timeline"]:
        if step["seq"] not in shown:
            continue
        reason = f"{step['reason']}: " if step.get("reason") else ""
        detail = wording.one_line(f"{reason}{step.get('detail') or ''}").rstrip(": ")
        which = f"{wording.version(step['seq']):<5}" if len(shown) > 1 else ""
        display.show(f"  {wording.clock(step['at'])} {which}{step['step']:<11} {detail}".rstrip())
    display.show(f"  next: {wording.one_line(answer['next'])}")
    return answer


def headline(collection: str, document_id: str, answer: dict[str, Any]) -> str:
    """`handbook/refunds.md  v7  WAITING 3 m 12 s  at embed`."""
    state = answer["state"]
    words = [wording.one_line(f"{collection}/{document_id}"), wording.version(answer["seq"])]
    words.append(f"{'WAITING' if state in WAITING else state.upper()} {wording.age(answer.get('age_seconds'))}")
    if state in WAITING:
        words.append(_PLACES.get(answer.get("reason") or "", "at write" if state == "indexing" else "at embed"))
        if answer.get("live_seq"):
            words.append(f"({wording.version(answer['live_seq'])} is searchable meanwhile)")
    return "  ".join(words)


async def located(api: "client.Api", document: str, collection: str | None) -> tuple[str, str]:
    """(collection, id) of a DOC: in the named collection, else in `default`, else with COLLECTION/ in front."""
    from bloomweaver.cli import client

    if collection is not None:
        return collection, document
    first, slash, rest = document.partition("/")
    if not (slash and rest) or await api.status_of(client.document_path("default", document)) != 404:
        return "default", document
    there = await api.status_of(client.collection_path(first)) == 200
    return (first, rest) if there else ("default", document)


def retry(
    context: typer.Context,
    *,
    document: options.Document,
    collection: options.MaybeCollection = None,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Try a failed document again now.

    `redrive` does so with many.
    """
    display = screen.Screen(as_json=as_json)

    async def work() -> None:
        from bloomweaver.cli import client

        async with surroundings.of(context).api(url, data) as api:
            name, document_id = await located(api, document, collection)
            answer = await api.post(client.document_path(name, document_id, "retry"))
            display.json(answer)
            if answer.get("retried", True):
                display.show(f"{wording.one_line(f'{name}/{document_id}')} is on its way again.")
                display.show(f"  next: bloomweaver why {wording.one_line(f'{name}/{document_id}')}")
            else:
                display.show(f"Nothing to do: its state is {answer['state']}, not failed.")

    surroundings.run(work())


def wait(
    context: typer.Context,
    *,
    batch: Annotated[
        str | None,
        typer.Argument(metavar="BATCH", help="What `push` printed; all changes if omitted.", show_default=False),
    ] = None,
    collection: options.MaybeCollection = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout", metavar="SECONDS", min=0.0, help="Give up after so long; exit code 5.", show_default=False
        ),
    ] = None,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Wait until changes are searchable."""
    from bloomweaver.cli.pushing import following, progress

    if batch is not None and collection is not None:
        raise failures.usage("Wait for a batch or for a collection, not for both.")
    display = screen.Screen(as_json=as_json)

    async def work() -> following.Ended:
        async with surroundings.of(context).api(url, data) as api:
            watched = following.Batches([batch]) if batch is not None else following.Everything(collection)
            with progress.open_progress(display) as bars:
                return await following.follow(api, watched, bars=bars, timeout_seconds=timeout)

    ended = surroundings.run(work())
    display.json(ended.as_json())
    display.show(ended.sentence())
    if ended.code is not failures.ExitCode.OK:
        raise typer.Exit(ended.code)
