"""Waits until a file changes, by looking: works on every file system, also over a network and in a container."""

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

from bloomweaver.cli.pushing import planning, reading, selection

POLL_SECONDS = 1.0
QUIET_SECONDS = 0.3

Snapshot: TypeAlias = dict[str, reading.Stamp | None]


def snapshot(roots: Sequence[planning.Root], chosen: selection.Selection) -> Snapshot:
    """The stamps of all files that are meant."""
    return {
        str(root.folder / relative): reading.stamp_of(root.folder / relative)
        for root in roots
        for relative in root.files(chosen)
    }


async def changed(roots: Sequence[planning.Root], chosen: selection.Selection, before: Snapshot) -> None:
    """Until something differs from `before` and has come to rest."""
    latest = before
    while True:
        await asyncio.sleep(POLL_SECONDS if latest == before else QUIET_SECONDS)
        now = await asyncio.to_thread(snapshot, roots, chosen)
        if now != before and now == latest:
            return
        latest = now
