"""Looking at the deployment: `audit`, `doctor`."""

from typing import Annotated, Any

import typer

from bloomweaver.cli import failures, options, screen, surroundings, wording


def audit(
    context: typer.Context,
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Write lost vectors again, remove what no document owns.")
    ] = False,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Compare ledger and vector store, and repair.

    Looks at every document. Needs a key with the verb admin. Ends with 1 where something is left to mend.
    """
    display = screen.Screen(as_json=as_json)

    async def work() -> dict[str, Any]:
        async with surroundings.of(context).api(url, data) as api:
            return await api.post("/v1/audit", {"repair": repair})

    found = surroundings.run(work())
    display.json(found)
    display.show(*audit_lines(found, repair=repair))
    if not found["clean"] and not _mended(found):
        raise typer.Exit(failures.ExitCode.FAILED)


def audit_lines(found: dict[str, Any], *, repair: bool) -> list[str]:
    """What an audit found, for a person."""
    looked = f"{wording.count(found['documents'], 'document')}, {wording.count(found['vectors'], 'vector')}"
    pending = f"; {found['pending']:,} on their way, not judged" if found["pending"] else ""
    if found["clean"]:
        return [f"Ledger and store agree: {looked}{pending}."]
    lines = [f"Ledger and store differ: {looked}{pending}."]
    named = (
        ("lost", "vectors that search should show and the store has not"),
        ("extra", "vectors that no document owns"),
        ("resurrected", "of these, vectors of deleted documents"),
        ("builds_lost", "documents whose stored vectors are lost as well"),
        ("texts_lost", "documents whose text is lost"),
        ("repaired", "vectors written again"),
        ("removed", "vectors removed"),
    )
    lines += [f"  {found[key]:>7,}  {meaning}" for key, meaning in named if found.get(key)]
    lines += [f"    e.g. {wording.one_line(example)}" for example in found.get("examples", [])[:5]]
    if found["builds_lost"] or found["texts_lost"]:
        lines.append("  next: push these documents again.")
    elif not repair:
        lines.append("  next: bloomweaver audit --repair")
    return lines


def _mended(found: dict[str, Any]) -> bool:
    """Whether a repair left nothing that only sending again can mend."""
    lost = found["builds_lost"] or found["texts_lost"]
    return not lost and found["repaired"] >= found["lost"] and found["removed"] >= found["extra"]


def doctor(
    context: typer.Context,
    *,
    wait: Annotated[
        float | None,
        typer.Option("--wait", metavar="SECONDS", min=0.0, help="Wait until the server is ready, so long."),
    ] = None,
    as_json: options.AsJson = False,
    url: options.Url = None,
    data: options.Data = None,
) -> None:
    """Check what BloomWeaver needs here, and what to do.

    Looks at Python, the data folder, the key, models, processor, disk and port, the server, and the stores on servers
    that BLOOMWEAVER_STORE and its like name.
    """
    from bloomweaver.cli import checking

    around = surroundings.of(context)
    display = screen.Screen(as_json=as_json)
    target = around.target(url, data)
    checks = [
        *checking.local(target),
        *surroundings.run(checking.stores(around)),
        *surroundings.run(checking.remote(around, target, wait_seconds=wait or 0.0)),
    ]
    bad = any(check.level is checking.Level.BAD for check in checks)
    unreachable = any(check.name == "server" and check.level is checking.Level.BAD for check in checks)
    listed = [
        {"name": check.name, "level": check.level.value, "found": check.found, "next": check.advice or None}
        for check in checks
    ]
    display.json({"healthy": not bad, "checks": listed})
    for check in checks:
        display.show(f"{check.mark}  {check.name:<12} {wording.one_line(check.found)}")
        if check.advice:
            display.show(f"   next: {check.advice}")
    if bad:
        raise typer.Exit(failures.ExitCode.UNREACHABLE if unreachable else failures.ExitCode.FAILED)
