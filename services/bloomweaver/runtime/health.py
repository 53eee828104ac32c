"""Whether this process can serve, and what keeps it from that: the answer of `/readyz`.

`/healthz` asks nothing of this: it is answered while the loop lives, so that an outage of a store restarts nobody. Each
obstacle is one sentence that names the part and the reason; what is secret or names a host stays in the log.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bloomweaver import logger
from bloomweaver.domain import errors, explanations
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import clock as clocks
from bloomweaver.ports import opened

PROBE_SECONDS: Final = 2.0
REMEMBERED_SECONDS: Final = 1.0

_AWAY: Final[Mapping[str, Reason]] = {
    "ledger": Reason.LEDGER_UNAVAILABLE,
    "queues": Reason.QUEUE_UNAVAILABLE,
    "blobs": Reason.BLOBS_UNAVAILABLE,
    "vectors": Reason.VECTORS_UNAVAILABLE,
}

Probe = Callable[[], Awaitable[object]]
Check = Callable[[], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Report:
    """obstacles: what keeps the process from serving; none is ready. degraded: what it can do without for a while."""

    obstacles: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()


class Health:
    """What was found is remembered for a moment, so that asking often is no load on the stores."""

    def __init__(self, *, clock: clocks.Clock) -> None:
        self._clock = clock
        self._held: dict[str, str] = {}
        self._probes: dict[str, Probe] = {}
        self._needed: frozenset[str] = frozenset()
        self._check: Check | None = None
        self._found: tuple[float, Report] | None = None
        self._asking = asyncio.Lock()
        self._was_ready = False
        self._log = logger.get("health")

    def hold(self, part: str, why: str) -> None:
        """Not ready because of this, until it is released."""
        self._held[part] = why

    def release(self, part: str) -> None:
        """This is no obstacle any more."""
        self._held.pop(part, None)

    def watch(
        self, *, probes: Mapping[str, Probe], needed: Collection[str] | None = None, check: Check | None = None
    ) -> None:
        """Ask these from now on. probes: by part, a call that fails with a BloomWeaverError where it is away.

        needed: parts without which nothing can be served; None means all. check: gives obstacles itself.
        """
        self._probes = dict(probes)
        self._needed = frozenset(probes if needed is None else needed)
        self._check = check
        self._found = None

    async def report(self) -> Report:
        """How it stands."""
        if self._held:
            return Report(tuple(f"{part}: {why}" for part, why in self._held.items()))
        async with self._asking:
            if self._found is None or self._clock.monotonic() - self._found[0] >= REMEMBERED_SECONDS:
                before = self._found[1] if self._found is not None else Report()
                self._found = (self._clock.monotonic(), await self._asked(before))
            return self._found[1]

    async def _asked(self, before: Report) -> Report:
        found = await asyncio.gather(*(probed(part, probe) for part, probe in self._probes.items()))
        away = {part: error for part, error in zip(self._probes, found, strict=True) if error is not None}
        sentences = {part: sentence(part, error) for part, error in away.items()}
        obstacles = [text for part, text in sentences.items() if part in self._needed]
        obstacles += await self._check() if self._check is not None else ()
        now = Report(tuple(obstacles), tuple(text for part, text in sentences.items() if part not in self._needed))
        if now != before:
            details = [error.detail for error in away.values()]
            tell = self._log.warning if self._was_ready else self._log.info
            tell("health", obstacles=now.obstacles, degraded=now.degraded, details=details)
        self._was_ready = self._was_ready or not now.obstacles
        return now


def sentence(part: str, error: errors.BloomWeaverError) -> str:
    """A part and why it cannot be used, without what only the log may have."""
    return f"{part}: {error.reason} ({explanations.of(error.reason).meaning})"


async def probed(part: str, probe: Probe) -> errors.BloomWeaverError | None:
    """Why a part cannot be reached; None where it can."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await probe()
    except errors.BloomWeaverError as error:
        return error
    except TimeoutError:
        reason = _AWAY.get(part, Reason.OVERLOADED)
        return errors.TransientError(reason, f"The {part} gave no answer within {PROBE_SECONDS:g} s.")
    return None


def probes_of(ports: opened.Ports) -> dict[str, Probe]:
    """A small question to every store."""

    async def blobs() -> None:
        with contextlib.suppress(errors.RetryableError):  # there is no such blob, which a store says that is there
            await ports.blobs.get(f"{ports.deployment}/ready")

    return {
        "ledger": lambda: ports.registry.key("ready"),
        "queues": ports.queues.depths,
        "blobs": blobs,
        # No namespace begins so: a store with a hundred thousand of them answers with one empty page.
        "vectors": lambda: ports.vectors.namespaces(f"{ports.deployment}.ready"),
    }
