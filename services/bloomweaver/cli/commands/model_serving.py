"""`bloomweaver models list`, `show`, `promote` and `pin`: which model searches what, and the way to another one.

Over HTTP, for the collections that the key sees. Where an EmbeddingModel resource decides, its controller would take
that back: `--resource` changes the resource's wish instead, and all its collections follow.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bloomweaver.cli import failures, options, screen, surroundings, wording

if TYPE_CHECKING:
    from bloomweaver.cli import client

Name = Annotated[str, typer.Argument(metavar="MODEL", help="As `models list` prints it.", show_default=False)]
Force = Annotated[bool, typer.Option("--force", help="Also if some documents are not ready.")]
Resource = Annotated[
    str | None,
    typer.Option(
        "--resource", metavar="NAME", help="The EmbeddingModel that decides, on Kubernetes.", show_default=False
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "-n", "--namespace", metavar="NAME", help="Its namespace; kubectl's unless given.", show_default=False
    ),
]
Json = dict[str, Any]


def list_models(
    context: typer.Context, *, as_json: options.AsJson = False, url: options.Url = None, data: options.Data = None
) -> None:
    """List the models that a collection may have, and how many are searched in each."""
    display = screen.Screen(as_json=as_json)

    async def work() -> None:
        async with surroundings.of(context).api(url, data) as api:
            answer = await api.get("/v1/models")
            collections = [item async for item in api.pages("/v1/collections")]
        for item in answer["data"]:
            item["collections"] = _where(collections, item["id"])
        display.json(answer)
        if not as_json:
            rows = [
                [
                    item["id"],
                    item.get("dimension", ""),
                    item.get("limit", ""),
                    item.get("state", ""),
                    len(item["collections"]["searched"]),
                    len(item["collections"]["building"]),
                ]
                for item in answer["data"]
            ]
            heads = ("model", "dimension", "tokens", "state", "searched in", "built for")
            display.table(heads, rows, numbers=("dimension", "tokens", "searched in", "built for"))

    surroundings.run(work())


def show(
    context: typer.Context,
    *,
    name: Name,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Show where a model is searched and built, and what going to it would take."""
    display = screen.Screen(as_json=as_json)

    async def work() -> None:
        async with surroundings.of(context).api(url, data) as api:
            answer = await api.get("/v1/models")
            model = next((item for item in answer["data"] if item["id"] == name), None)
            if model is None:
                raise _no_such(name)
            collections = [item async for item in api.pages("/v1/collections")]
            where = _where(collections, name)
            elsewhere = [item for item in collections if item["model"] != name and item["name"] not in where["kept"]]
            estimates = {item["name"]: await _estimate(api, item["name"], name) for item in elsewhere}
        display.json({**model, "collections": where, "estimates": estimates})
        _show(model, where, estimates, display=display)

    surroundings.run(work())


def promote(
    context: typer.Context,
    *,
    name: Name,
    force: Force = False,
    resource: Resource = None,
    namespace: Namespace = None,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Search in a model wherever it was built.

    Collections whose gate is shut stay as they are, and the command ends with 1. Where an EmbeddingModel decides, its
    controller would take that back: with --resource its wish is changed, the model may also be a revision's hash, and
    its gate decides when.
    """
    if resource is not None or namespace is not None:
        _wish(resource, namespace, "promote", name, screen.Screen(as_json=as_json), force=force)
        return
    step = _Step("promote", "building", "is built for", "is searched in")
    _all(context, name, step, screen.Screen(as_json=as_json), url=url, data=data, force=force)


def pin(
    context: typer.Context,
    *,
    name: Name,
    force: Force = False,
    resource: Resource = None,
    namespace: Namespace = None,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Go back to a model wherever it was searched before the last promotion.

    Where an EmbeddingModel decides, its controller would take that back: with --resource its wish is changed, the model
    may also be a revision's hash, and it stays searched until the pin is taken off.
    """
    if resource is not None or namespace is not None:
        _wish(resource, namespace, "pin", name, screen.Screen(as_json=as_json), force=force)
        return
    step = _Step("rollback", "soaking", "can go back to", "is searched again in")
    _all(context, name, step, screen.Screen(as_json=as_json), url=url, data=data, force=force)


def _wish(
    resource: str | None, namespace: str | None, field: str, model: str, display: screen.Screen, *, force: bool
) -> None:
    from bloomweaver.cli import model_resources

    if resource is None:
        raise failures.usage("--namespace goes with --resource.", advice="`kubectl get embeddingmodels` names them.")
    if force:
        raise failures.usage(
            "--force does not go with --resource.", advice="spec.rollout.gate.maxFailedPercent says what may fail."
        )
    chosen = model_resources.Resource(resource, namespace)
    found = chosen.wish(field, model)
    revision = f"{wording.one_line(found['model']['name'])} ({wording.one_line(found['hash'])})"
    display.json({"resource": resource, "field": f"spec.rollout.{field}", "revision": found})
    said = "searches" if field == "pin" else "will search, once its gate is open,"
    display.show(f"{wording.one_line(resource)} {said} {revision}; its collections follow within seconds.")
    display.show(f"  to take it back: {chosen.command(field)}")


class _Step:
    """A step of a re-index. state: of the collections that can take it."""

    def __init__(self, verb: str, state: str, before: str, after: str) -> None:
        self.verb, self.state, self.before, self.after = verb, state, before, after


def _all(
    context: typer.Context,
    name: str,
    step: _Step,
    display: screen.Screen,
    *,
    url: options.Url,
    data: options.Data,
    force: bool,
) -> None:
    async def work() -> dict[str, Json]:
        from bloomweaver.cli import client

        async with surroundings.of(context).api(url, data) as api:
            collections = [item async for item in api.pages("/v1/collections")]
            ready = [item["name"] for item in collections if _is_at(item, step.state, name)]
            if not ready:
                raise failures.Failure(
                    f"No collection {step.before} {wording.one_line(name)}.",
                    why="none that this key sees is at that point of a re-index",
                    advice=f"`bloomweaver models show {wording.one_line(name)}` tells where it stands.",
                )

            async def take(collection: str) -> Json:
                path = client.collection_path(collection, "reindex", step.verb)
                return await api.post(path, force="true" if force else None)

            return {collection: await _tried(take, collection) for collection in ready}

    done = surroundings.run(work())
    display.json({"model": name, "collections": done})
    for collection, told in done.items():
        said = f"stays as it is: {told['error']}" if "error" in told else f"{step.after} {wording.one_line(name)}."
        display.show(f"'{wording.one_line(collection)}' {said}")
    if any("error" in told for told in done.values()):
        raise typer.Exit(failures.ExitCode.FAILED)


async def _tried(take: Callable[[str], Awaitable[Json]], collection: str) -> Json:
    """One collection that cannot go along holds up no other."""
    try:
        return await take(collection)
    except failures.Failure as failure:
        if failure.code is not failures.ExitCode.FAILED and failure.code is not failures.ExitCode.USAGE:
            raise
        return {"error": wording.one_line(failure.why or failure.what).replace("?force=true", "--force")}


async def _estimate(api: "client.Api", collection: str, model: str) -> Json | None:
    from bloomweaver.cli import client

    answer = await api.get(client.collection_path(collection, "reindex"), model=model)
    found: Json | None = answer.get("estimate")
    return found


def _where(collections: list[Json], name: str) -> dict[str, list[str]]:
    return {
        "searched": [item["name"] for item in collections if item["model"] == name],
        "building": [item["name"] for item in collections if _is_at(item, "building", name)],
        "kept": [item["name"] for item in collections if _is_at(item, "soaking", name)],
    }


def _is_at(item: Json, state: str, model: str) -> bool:
    return bool(item["reindex"]["state"] == state and item["reindex"].get("model") == model)


def _show(
    model: Json, where: dict[str, list[str]], estimates: dict[str, Json | None], *, display: screen.Screen
) -> None:
    named = {kind: ", ".join(map(wording.one_line, names)) or "none" for kind, names in where.items()}
    display.show(
        f"{wording.one_line(model['id'])}  {model.get('state', '')}".rstrip(),
        f"  vectors    {model.get('dimension', '')} numbers, texts of at most {model.get('limit', '')} tokens",
        f"  searched   in {named['searched']}",
        f"  built      for {named['building']}",
        f"  kept       for a way back in {named['kept']}",
    )
    for collection, estimate in estimates.items():
        if estimate is not None:
            display.show(f"  '{wording.one_line(collection)}' would take {estimate_line(estimate)}")


def estimate_line(estimate: Json) -> str:
    """What a re-index would take, in a line."""
    seconds, cost = estimate.get("seconds"), estimate.get("cost")
    time = "a time nobody has measured yet" if seconds is None else f"{wording.age(float(seconds))} of one pod"
    money = (
        "no price known"
        if cost is None
        else f"{cost['amount']:.2f} {cost['currency']} ({cost['source']}, {cost['as_of']})"
    )
    return (
        f"{wording.count(estimate['documents'], 'document')}, about {wording.count(estimate['chunks'], 'chunk')}, "
        f"{_size(estimate['vector_bytes'])} of vectors, {time}, {money}."
    )


def _size(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _no_such(name: str) -> failures.Failure:
    return failures.Failure(
        f"There is no model {wording.one_line(name)}.",
        why="the server lists none of that name",
        advice="`bloomweaver models list` names those that there are.",
    )
