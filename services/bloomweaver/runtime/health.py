"""Whether this process can serve, and what keeps it from that: the answer of `/readyz`.

`/healthz` asks nothing of this: it is answered while the loop lives, so that an outage of a store restarts nobody. Each
obstacle is one sentence that names the part and the reason; what is secret or names a host stays in the log.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import structlog

from bloomweaver.domain import errors, explanations
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import clock as clocks
from bloomweaver.ports import opened

PROBE_SECONDS: Final = 2.0
REMEMBERED_SECONDS: Final = 2.0

Probe = Callable[[], Awaitable[object]]
Check = Callable[[], Awaitable[Sequence[str]]]


class Health:
    """probes: by part, a call that fails with a BloomWeaverError where it is away. checks: give sentences themselves.

    What was found is remembered for a moment, so that asking often is no load on the stores.
    """

    def __init__(self, *, clock: clocks.Clock) -> None:
        self._clock = clock
        self._held: dict[str, str] = {}
        self._probes: dict[str, Probe] = {}
        self._checks: list[Check] = []
        self._found: tuple[float, list[str]] | None = None
        self._asking = asyncio.Lock()
        self._log = structlog.get_logger("health")

    def hold(self, part: str, why: str) -> None:
        """Not ready because of this, until it is released."""
        self._held[part] = why

    def release(self, part: str) -> None:
        """This is no obstacle any more."""
        self._held.pop(part, None)

    def watch(self, *, probes: Mapping[str, Probe] | None = None, check: Check | None = None) -> None:
        """Ask these as well from now on."""
        self._probes.update(probes or {})
        self._checks += [check] if check is not None else []
        self._found = None

    async def obstacles(self) -> list[str]:
        """What keeps the process from serving; empty means ready."""
        held = [f"{part}: {why}" for part, why in self._held.items()]
        return held or await self._asked()

    async def _asked(self) -> list[str]:
        async with self._asking:
            if self._found is None or self._clock.monotonic() - self._found[0] >= REMEMBERED_SECONDS:
                found = await asyncio.gather(*(probed(probe) for probe in self._probes.values()))
                sentences = [
                    f"{part}: {error.reason} ({explanations.of(error.reason).meaning})"
                    for part, error in zip(self._probes, found, strict=True)
                    if error is not None
                ]
                for check in self._checks:
                    sentences += await check()
                self._note(sentences, [error for error in found if error is not None])
                self._found = (self._clock.monotonic(), sentences)
            return self._found[1]

    def _note(self, now: Sequence[str], why: Sequence[errors.BloomWeaverError]) -> None:
        before = self._found[1] if self._found is not None else []
        if now and list(now) != before:
            self._log.warning("unready", obstacles=list(now), details=[error.detail for error in why])
        elif before and not now:
            self._log.warning("ready_again")


async def probed(probe: Probe) -> errors.BloomWeaverError | None:
    """Why a part cannot be reached; None where it can."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await probe()
    except errors.BloomWeaverError as error:
        return error
    except TimeoutError:
        return errors.TransientError(Reason.REQUEST_TIMEOUT, f"no answer within {PROBE_SECONDS:g} s")
    return None


def probes_of(ports: opened.Ports) -> dict[str, Probe]:
    """A small question to every store."""

    async def blobs() -> None:
        async for _ in ports.blobs.list(f"{ports.deployment}/ready/"):
            return

    return {
        "ledger": lambda: ports.registry.key("ready"),
        "queues": ports.queues.depths,
        "blobs": blobs,
        "vectors": lambda: ports.vectors.namespaces(f"{ports.deployment}."),
    }
