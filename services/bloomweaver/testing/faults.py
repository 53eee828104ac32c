"""Ports that fail as the real ones do: wrappers around any adapter, for simulations and for tests of adapters' callers.

Each wrapper belongs to one simulated process (`loops.Host`) and asks the history's `Chaos` around every call.
Invariant: with all rates zero a wrapper changes nothing but the time.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

from bloomweaver.domain import errors, models
from bloomweaver.domain.events import Hint
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import blobs, embedders, queues
from bloomweaver.testing import chaos as chaos_
from bloomweaver.testing import loop as loops

P = TypeVar("P")

READS = frozenset(
    {
        "batch_counts", "chunks", "collection", "collections", "counts", "dead_letters", "deployment", "documents",
        "event", "gate", "generation", "key", "keys", "look", "needed", "now", "oldest_pending", "owned_blobs",
        "owners", "retired", "rows", "shown", "snapshot", "source", "source_by_ingest_id", "tenants", "timeline",
        "versions", "visible",
    }
)  # fmt: skip

Seen = Callable[[str, tuple[Any, ...], dict[str, Any], Any], None]


class _FaultyPort:
    """Every coroutine method of a port, with faults around it. seen: is told of each effect, arguments and result."""

    def __init__(self, inner: object, *, host: loops.Host, chaos: chaos_.Chaos, port: str, seen: Seen | None) -> None:
        self._inner = inner
        self._host = host
        self._chaos = chaos
        self._port = port
        self._seen = seen

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._inner, name)
        host, chaos, seen, port = self._host, self._chaos, self._seen, self._port
        mutates, site = name not in READS, f"{port}.{name}"

        async def faulty(*args: Any, **options: Any) -> Any:
            if name == "visible" and chaos.chance(chaos.rates.before_rows):
                await asyncio.sleep(chaos.rng.random() * chaos.rates.before_rows_seconds)

            await chaos.before(host, port, name)
            try:
                result = await method(*args, **options)
                if seen is not None:
                    seen(name, args, options, result)
            except errors.BloomWeaverError as error:
                chaos.trace(host.name, site, str(error.reason))
                raise
            chaos.trace(host.name, site, "ok")
            chaos.after(host, port, name, mutates=mutates)
            return result

        setattr(self, name, faulty)
        return faulty


def faulty(inner: P, *, host: loops.Host, chaos: chaos_.Chaos, port: str = "ledger", seen: Seen | None = None) -> P:
    """A ledger, healing, registry or history port whose calls may fail: one database, one outage."""
    return cast("P", _FaultyPort(inner, host=host, chaos=chaos, port=port, seen=seen))


class FaultyQueues:
    """Hints are lost, doubled, delayed and so reordered. on_ack, on_lost and on_sent are told of each that was."""

    def __init__(
        self,
        inner: queues.Queues,
        *,
        host: loops.Host,
        chaos: chaos_.Chaos,
        on_ack: Callable[[str, str, Sequence[queues.Delivery]], Awaitable[None]] | None = None,
        on_lost: Callable[[str, Hint], None] = lambda queue, hint: None,
        on_sent: Callable[[str, Hint], None] = lambda queue, hint: None,
    ) -> None:
        self._inner = inner
        self._host = host
        self._chaos = chaos
        self._on_ack = on_ack
        self._on_lost = on_lost
        self._on_sent = on_sent

    async def send(self, queue: str, hints: Sequence[Hint], *, delay_seconds: float = 0.0) -> None:
        await self._chaos.before(self._host, "queues", "send")
        for delay, hint in self._fates(queue, hints):
            await self._inner.send(queue, [hint], delay_seconds=delay_seconds + delay)
            self._on_sent(queue, hint)
        self._chaos.trace(self._host.name, "queues.send", f"{queue} {' '.join(_named(hint) for hint in hints)}")
        self._chaos.after(self._host, "queues", "send", mutates=True)

    def _fates(self, queue: str, hints: Sequence[Hint]) -> Iterable[tuple[float, Hint]]:
        chaos, rates = self._chaos, self._chaos.rates
        for hint in hints:
            if chaos.chance(rates.hint_lost):
                chaos.counted(self._host, "queues.send", "hint_lost")
                self._on_lost(queue, hint)
                continue
            delay = 0.0
            if chaos.chance(rates.hint_delayed):
                delay = chaos.rng.random() * rates.hint_delay_seconds
                chaos.counted(self._host, "queues.send", "hint_delayed")
            yield delay, hint
            if chaos.chance(rates.hint_doubled):
                chaos.counted(self._host, "queues.send", "hint_doubled")
                yield chaos.rng.random() * rates.hint_delay_seconds, hint

    async def receive(
        self, queue: str, *, limit: int, visibility_seconds: float, wait_seconds: float = 0.0
    ) -> list[queues.Delivery]:
        await self._chaos.before(self._host, "queues", "receive")
        taken = await self._inner.receive(
            queue, limit=limit, visibility_seconds=visibility_seconds, wait_seconds=wait_seconds
        )
        if taken:
            self._chaos.trace(self._host.name, f"receive {queue}", " ".join(_named(d.hint) for d in taken))
            if any(delivery.receives > 1 for delivery in taken):
                self._chaos.counts["received_again"] += 1
            self._chaos.after(self._host, "queues", "receive", mutates=False)
        return taken

    async def ack(self, queue: str, deliveries: Sequence[queues.Delivery]) -> None:
        async def effect() -> None:
            await self._inner.ack(queue, deliveries)
            if self._on_ack is not None:
                await self._on_ack(self._host.name, queue, deliveries)

        await self._chaos.call(self._host, "queues", "ack", effect)

    async def release(self, queue: str, deliveries: Sequence[queues.Delivery], *, delay_seconds: float = 0.0) -> None:
        await self._chaos.call(
            self._host,
            "queues",
            "release",
            lambda: self._inner.release(queue, deliveries, delay_seconds=delay_seconds),
        )

    async def extend(self, queue: str, deliveries: Sequence[queues.Delivery], *, visibility_seconds: float) -> None:
        await self._chaos.call(
            self._host,
            "queues",
            "extend",
            lambda: self._inner.extend(queue, deliveries, visibility_seconds=visibility_seconds),
        )

    async def depths(self) -> dict[str, queues.Depth]:
        return await self._chaos.call(self._host, "queues", "depths", self._inner.depths)

    async def dead(self, queue: str, *, limit: int) -> list[queues.Delivery]:
        taken = await self._chaos.call(self._host, "queues", "dead", lambda: self._inner.dead(queue, limit=limit))
        self._chaos.counts["dead_letter"] += len(taken)
        return taken


def _named(hint: Hint) -> str:
    return f"{hint.tenant}/{hint.document_id}@{hint.seq & 0xFFFFFF}"


class FaultyBlobs:
    """Blobs may be away, or not to be found for a moment."""

    def __init__(self, inner: blobs.Blobs, *, host: loops.Host, chaos: chaos_.Chaos) -> None:
        self._inner = inner
        self._host = host
        self._chaos = chaos

    async def put(self, key: str, data: bytes) -> None:
        await self._chaos.call(self._host, "blobs", "put", lambda: self._inner.put(key, data), mutates=True)

    async def get(self, key: str) -> bytes:
        async def effect() -> bytes:
            if self._chaos.chance(self._chaos.rates.blob_absent):
                self._chaos.counted(self._host, "blobs.get", "blob_absent")
                raise errors.RetryableError(Reason.BLOB_MISSING, f"no blob {key}")
            return await self._inner.get(key)

        return await self._chaos.call(self._host, "blobs", "get", effect)

    async def delete(self, keys: Sequence[str]) -> None:
        await self._chaos.call(self._host, "blobs", "delete", lambda: self._inner.delete(keys), mutates=True)

    async def list(self, prefix: str) -> AsyncIterator[blobs.BlobInfo]:
        await self._chaos.before(self._host, "blobs", "list")
        async for info in self._inner.list(prefix):
            self._host.check()
            yield info


class FaultyEmbedder:
    """A model that takes its time. A `fatal` text takes the whole process along; a `broken` one becomes NaN."""

    def __init__(
        self,
        inner: embedders.Embedder,
        *,
        host: loops.Host,
        chaos: chaos_.Chaos,
        fatal: Callable[[str], bool] = lambda text: False,
        broken: Callable[[str], bool] = lambda text: False,
    ) -> None:
        self.spec = inner.spec
        self.space = inner.space
        self.tokenizer = inner.tokenizer
        self._inner = inner
        self._host = host
        self._chaos = chaos
        self._fatal = fatal
        self._broken = broken

    async def embed(self, passages: Sequence[embedders.Passage], kind: models.Kind) -> embedders.Vectors:
        if any(self._fatal(passage.text) for passage in passages):
            self._chaos.crash(self._host, "embedders.embed", "killed_by_text")
        self._chaos.counts[f"embedded_{kind}"] += len(passages)
        rows = await self._chaos.call(self._host, "embedders", "embed", lambda: self._inner.embed(passages, kind))
        for index, passage in enumerate(passages):
            if self._broken(passage.text):
                rows[index] = math.nan
        return rows

    async def aclose(self) -> None:
        await self._inner.aclose()
