"""`bloomweaver keys`: API keys. With --tenant the key is made in the data folder itself, without a server."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bloomweaver.cli import failures, options, screen, surroundings, wording

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Create, list, revoke API keys.")

VERBS = ("read", "write", "admin")


Name = Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.", show_default=False)]
Verbs = Annotated[
    list[str] | None,
    typer.Option("--verb", metavar="read|write|admin", help="What it may do; can be repeated. [default: read]"),
]
Collections = Annotated[
    list[str] | None,
    typer.Option("--collection", "-c", metavar="GLOB", help="What it sees; can be repeated. [default: *]"),
]
Filters = Annotated[
    list[str] | None, typer.Option("--filter", "-f", metavar="FILTER", help="Every read and search obeys it.")
]
ExpiresAt = Annotated[
    str | None, typer.Option("--expires-at", metavar="TIME", help="RFC 3339, as 2027-01-01T00:00:00Z.")
]
Tenant = Annotated[
    str | None,
    typer.Option("--tenant", metavar="NAME", help="Make this tenant and its key in the data folder; no server."),
]


@app.command()
def create(
    context: typer.Context,
    *,
    name: Name,
    verbs: Verbs = None,
    collections: Collections = None,
    filters: Filters = None,
    expires_at: ExpiresAt = None,
    tenant: Tenant = None,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Make a key. Its secret is shown this once."""
    from bloomweaver.cli.commands import searching

    body: dict[str, Any] = {"name": name, "verbs": verbs or (list(VERBS) if tenant else ["read"])}
    body["collections"] = collections or ["*"]
    if expires_at is not None:
        body["expires_at"] = expires_at
    if filters:
        body["filter"] = searching.filter_of(filters)
    around = surroundings.of(context)
    display = screen.Screen(as_json=as_json)
    if tenant is not None:
        if expires_at is not None or filters:
            raise failures.usage("--tenant makes a plain key.", advice="Make the others with it, over HTTP.")
        _print_key(_in_folder(around, data, tenant, body), display=display)
        return

    async def work() -> None:
        async with around.api(url, data) as api:
            _print_key(await api.post("/v1/keys", body), display=display)

    surroundings.run(work())


def _in_folder(
    around: surroundings.Surroundings, data: Path | None, tenant: str, body: dict[str, Any]
) -> dict[str, Any]:
    from bloomweaver.cli import inprocess
    from bloomweaver.cli.commands import serving

    settings = serving.settings_of(around.variables)
    made = inprocess.create_tenant_key(around.data(data), settings, tenant=tenant, **body)
    return surroundings.run(made)


def _print_key(made: dict[str, Any], *, display: screen.Screen) -> None:
    display.json(made)
    display.show(made["secret"])
    if not display.as_json:
        display.note(
            f"Key {made['id']} ('{wording.one_line(made['name'])}'): {', '.join(made['verbs'])} on "
            f"{', '.join(made['collections'])}. The secret above is not shown again."
        )


@app.command("list")
def list_all(
    context: typer.Context, *, as_json: options.AsJson = False, url: options.Url = None, data: options.Data = None
) -> None:
    """List keys, without their secrets."""
    display = screen.Screen(as_json=as_json)

    async def work() -> None:
        async with surroundings.of(context).api(url, data) as api:
            items = [item async for item in api.pages("/v1/keys")]
        display.json({"items": items})
        if not as_json:
            rows = [
                [
                    item["id"],
                    item["name"],
                    " ".join(item["verbs"]),
                    " ".join(item["collections"]),
                    wording.bare(item.get("created_at")),
                    wording.bare(item.get("expires_at")),
                ]
                for item in items
            ]
            display.table(("id", "name", "verbs", "collections", "created", "expires"), rows)

    surroundings.run(work())


@app.command()
def revoke(
    context: typer.Context,
    *,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `keys list` prints it.", show_default=False)],
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Revoke a key. It ends within 5 s everywhere."""
    display = screen.Screen(as_json=as_json)

    async def work() -> None:
        import urllib.parse

        async with surroundings.of(context).api(url, data) as api:
            answer = await api.delete(f"/v1/keys/{urllib.parse.quote(key_id, safe='')}")
            display.json(answer)
            display.show(f"Key {wording.one_line(key_id)} is revoked.")

    surroundings.run(work())
