"""`bloomweaver dev`: the whole service in this process. `bloomweaver migrate`: the store, without serving."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bloomweaver.cli import failures, options, screen, surroundings

if TYPE_CHECKING:
    from bloomweaver.allinone import settings as dev_settings

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def dev(
    context: typer.Context,
    *,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", metavar="N", min=0, max=65535, help="Port to listen on; 0 takes a free one. [default: 8080]"
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            "--host", metavar="ADDRESS", help="Address to listen on. [default: 127.0.0.1]", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="Embedding model of new collections.", show_default=False),
    ] = None,
    processes: Annotated[
        bool, typer.Option("--processes", help="Each service a process of its own, behind one address.")
    ] = False,
    embedders: Annotated[
        int | None,
        typer.Option(
            "--embedders", metavar="N", min=1, max=64, help="So many embedders, with --processes. [default: 1]"
        ),
    ] = None,
    data: options.Data = None,
) -> None:
    """Run the whole service on this machine until Ctrl-C.

    A key is always needed; the first start writes one into the data folder.
    """
    around = surroundings.of(context)
    if embedders is not None and not processes:
        raise failures.usage("One process has one embedder.", advice="Add --processes.")
    settings = settings_of(around.variables, port=port, host=host, model=model, embedders=embedders)
    serve = _serve_processes if processes else _serve
    surroundings.run_serving(serve(around.data(data), settings, screen.Screen()))


def settings_of(variables: Mapping[str, str], **given: object) -> "dev_settings.DevSettings":
    """The settings of the process: options win over variables."""
    from bloomweaver.allinone import settings
    from bloomweaver.runtime import config

    chosen = {f"BLOOMWEAVER_{name.upper()}": str(value) for name, value in given.items() if value is not None}
    return config.read(settings.DevSettings, {**variables, **chosen})


async def _serve(data: Path, settings: "dev_settings.DevSettings", display: screen.Screen) -> None:
    from bloomweaver.allinone import main, running
    from bloomweaver.runtime import lifecycle

    with lifecycle.listen(settings.host, settings.port) as listener:
        port = listener.getsockname()[1]
        async with _until_stopped() as stops, main.opened(data, settings, purpose="bloomweaver dev") as service:
            new_key = service.key if service.new_key else None
            display.show(*_greeting(data, settings.host, port, new_key=new_key))
            await running.serve(service, listener, stops=stops)
            display.note("Stopping: what is in work is finished, the rest waits in the ledger.")


async def _serve_processes(data: Path, settings: "dev_settings.DevSettings", display: screen.Screen) -> None:
    from bloomweaver.allinone import main
    from bloomweaver.runtime import lifecycle

    with lifecycle.listen(settings.host, settings.port) as listener:
        port = listener.getsockname()[1]
        async with (
            _until_stopped() as stops,
            main.supervised(data, settings, tell=display.labelled) as (fleet, new_key),
        ):

            def greet() -> None:
                what = "each service a process of its own"
                display.show(*_greeting(data, settings.host, port, new_key=new_key, what=what))

            display.show(*(f"  {name:<14} http://127.0.0.1:{number}" for name, number in fleet.ports.items()))
            stops.append(fleet.server.stop)
            await fleet.serve(listener, on_ready=greet)
            display.note("Stopped: what was in work is finished, the rest waits in the ledger.")


@contextlib.asynccontextmanager
async def _until_stopped() -> AsyncIterator[list[Callable[[], None]]]:
    """SIGINT and SIGTERM call what is in the list that this gives; while it is empty, they cancel what is inside.

    A second one must not cut off the draining of what is in work.
    """
    loop = asyncio.get_running_loop()
    inside = asyncio.current_task()
    assert inside is not None
    stops: list[Callable[[], None]] = []
    cancelled = False

    def stop(task: "asyncio.Task[object]") -> None:
        nonlocal cancelled
        if not stops:
            cancelled = True
            task.cancel()
        for each in stops:
            each()

    for number in SIGNALS:
        loop.add_signal_handler(number, stop, inside)
    try:
        yield stops
    except asyncio.CancelledError:
        if not cancelled:
            raise
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


def _greeting(
    data: Path, host: str, port: int, *, new_key: str | None, what: str = "everything in this one process"
) -> list[str]:
    import bloomweaver

    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{port}"
    default = url == surroundings.DEFAULT_URL
    near = "" if data == Path(surroundings.DEFAULT_DATA) else f" --data {data}"
    options = f"{'' if default else f' --url {url}'}{near}"
    return [
        f"BloomWeaver {bloomweaver.__version__}, {what}; data in {data}",
        f"  API   {url}",
        f"  docs  {url}/docs",
        f"  key   {data / 'key'} (commands on this machine find it)",
        *([f"        {new_key} (new; shown this once)"] if new_key else []),
        "",
        "In another terminal:",
        f"  bloomweaver push ./docs{options}",
        f'  bloomweaver search "how long do refunds take"{options}',
        f"  bloomweaver status{options}",
        "Ctrl-C ends it.",
    ]


def migrate(
    context: typer.Context,
    *,
    restored: Annotated[
        bool,
        typer.Option("--restored", help="The ledger came from a backup: begin a new epoch, then audit and repair."),
    ] = False,
    as_json: options.AsJson = False,
    data: options.Data = None,
) -> None:
    """Bring the store to this release.

    That is the data folder, or the servers that BLOOMWEAVER_STORE names. Starting `dev` does so as well, without
    --restored. Services only check, and say what is to be done.
    """
    from bloomweaver.cli import inprocess
    from bloomweaver.cli.commands import inspecting

    around = surroundings.of(context)
    display = screen.Screen(as_json=as_json)
    settings = settings_of(around.variables)
    components = surroundings.run(inprocess.migrate_servers(settings, restored=restored))
    found, where = None, "The store"
    if components is None:
        where = str(around.data(data))
        found = surroundings.run(inprocess.migrate(around.data(data), settings, restored=restored))
    display.json({"migrated": True, "restored": restored, "audit": found, "components": components or []})
    display.show(*(_migrated_line(**component) for component in components or []))
    display.show(f"{where} belongs to this release.")
    if found is not None:
        display.show(*inspecting.audit_lines(found, repair=True))
    elif restored:
        display.show("A new epoch has begun. Start the services, then run: bloomweaver audit --repair")


def _migrated_line(*, component: str, found: int, version: int, scripts: list[str]) -> str:
    did = f"{found} to {version}: {', '.join(scripts)}" if scripts else f"{version}, nothing to do"
    return f"{component:<8} schema {did}"
