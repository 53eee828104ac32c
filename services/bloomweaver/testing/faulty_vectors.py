"""A vector store as the real ones are: replicas that lag, writes that are torn or land after their caller gave up.

Invariant: what the vectors port guarantees still holds: an id keeps its vector, and a query's position never claims
more than its replica has seen.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from bloomweaver.domain import errors
from bloomweaver.domain.filters import Filter
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import vectors
from bloomweaver.testing import chaos as chaos_
from bloomweaver.testing import loop as loops

Write = Callable[[vectors.Vectors], Awaitable[object]]


@dataclass(slots=True)
class _Replica:
    """waiting: writes of the primary, in its order, with the time from which this replica has them."""

    store: vectors.Vectors
    waiting: deque[tuple[float, Write]] = field(default_factory=deque)

    async def catch_up(self, now: float) -> vectors.Vectors:
        while self.waiting and self.waiting[0][0] <= now:
            await self.waiting.popleft()[1](self.store)
        return self.store


class LaggingVectors:
    """One store of several replicas: each sees the writes in order but late, and a reader is sent to any of them.

    make: gives an empty store; it is called once for the primary and once per replica. positions: whether it tells up
    to where a reader has seen its writes.
    """

    def __init__(
        self, make: Callable[[], vectors.Vectors], *, replicas: int, chaos: chaos_.Chaos, positions: bool = True
    ) -> None:
        self.primary = make()
        self.capabilities = replace(self.primary.capabilities, read_barrier=positions)
        self._positions = positions
        self._replicas = [_Replica(make()) for _ in range(replicas)]
        self._chaos = chaos

    async def _write(self, write: Write) -> object:
        result = await write(self.primary)
        now, lag = self._chaos.loop.time(), self._chaos.rates.lag_seconds
        for replica in self._replicas:
            delay = self._chaos.rng.expovariate(1.0 / lag) if lag and not self._chaos.calm else 0.0
            earliest = replica.waiting[-1][0] if replica.waiting else now
            replica.waiting.append((max(earliest, now + delay), write))
        return result

    async def _reader(self) -> vectors.Vectors:
        if not self._replicas:
            return self.primary
        replica = self._replicas[self._chaos.rng.randrange(len(self._replicas))]
        return await replica.catch_up(self._chaos.loop.time())

    async def upsert(self, namespace: str, records: Sequence[vectors.Record]) -> int | None:
        position = await self._write(lambda store: store.upsert(namespace, records))
        return position if isinstance(position, int) and self._positions else None

    async def delete(self, namespace: str, ids: Sequence[str]) -> None:
        await self._write(lambda store: store.delete(namespace, ids))

    async def query(
        self, namespace: str, vector: vectors.Vector, *, k: int, where: Filter | None = None
    ) -> vectors.Matches:
        matches = await (await self._reader()).query(namespace, vector, k=k, where=where)
        return matches if self._positions else replace(matches, position=None)

    async def present(self, namespace: str, ids: Sequence[str]) -> set[str]:
        return await (await self._reader()).present(namespace, ids)

    async def ids(self, namespace: str, *, prefix: str = "") -> AsyncIterator[list[str]]:
        reader = await self._reader()
        async for page in reader.ids(namespace, prefix=prefix):
            yield page

    async def namespaces(self, prefix: str) -> list[str]:
        return await self.primary.namespaces(prefix)

    async def drop(self, namespace: str) -> None:
        await self._write(lambda store: store.drop(namespace))


class FaultyVectors:
    """Writes may be torn between records, or land long after their caller gave up."""

    def __init__(
        self,
        inner: vectors.Vectors,
        *,
        host: loops.Host,
        chaos: chaos_.Chaos,
        pure: Callable[[str, int], None] | None = None,
    ) -> None:
        self.capabilities = inner.capabilities
        self._inner = inner
        self._host = host
        self._chaos = chaos
        self._pure = pure or (lambda namespace, dimension: None)

    async def upsert(self, namespace: str, records: Sequence[vectors.Record]) -> int | None:
        if records:
            self._pure(namespace, len(records[0].vector))
        await self._chaos.before(self._host, "vectors", "upsert")
        self._chaos.trace(self._host.name, "vectors.upsert", " ".join(record.id[-14:] for record in records))
        if self._chaos.chance(self._chaos.rates.late_write):
            self._later(lambda: self._inner.upsert(namespace, records))
        if len(records) > 1 and self._chaos.chance(self._chaos.rates.partial_write):
            self._chaos.counted(self._host, "vectors.upsert", "partial_write")
            await self._inner.upsert(namespace, records[: len(records) // 2])
            raise errors.TransientError(Reason.VECTORS_UNAVAILABLE, "half of it was written")
        position = await self._inner.upsert(namespace, records)
        self._chaos.after(self._host, "vectors", "upsert", mutates=True)
        return position

    async def delete(self, namespace: str, ids: Sequence[str]) -> None:
        async def effect() -> None:
            self._chaos.trace(self._host.name, "vectors.delete", " ".join(name[-14:] for name in ids))
            if self._chaos.chance(self._chaos.rates.late_write):
                self._later(lambda: self._inner.delete(namespace, ids))
            await self._inner.delete(namespace, ids)

        await self._chaos.call(self._host, "vectors", "delete", effect, mutates=True)

    def _later(self, write: Callable[[], Awaitable[object]]) -> None:
        """The request is on its way and lands; nobody is told."""
        chaos = self._chaos
        chaos.counted(self._host, "vectors", "late_write")

        async def land() -> None:
            await asyncio.sleep(1.0 + chaos.rng.random() * chaos.rates.late_seconds)
            chaos.trace("network", "vectors", "late write lands")
            await write()

        chaos.detach(land())
        raise errors.TransientError(Reason.VECTORS_UNAVAILABLE, "timed out")

    async def query(
        self, namespace: str, vector: vectors.Vector, *, k: int, where: Filter | None = None
    ) -> vectors.Matches:
        self._pure(namespace, len(vector))
        return await self._chaos.call(
            self._host, "vectors", "query", lambda: self._inner.query(namespace, vector, k=k, where=where)
        )

    async def present(self, namespace: str, ids: Sequence[str]) -> set[str]:
        self._chaos.counts["probed"] += 1
        return await self._chaos.call(self._host, "vectors", "present", lambda: self._inner.present(namespace, ids))

    async def ids(self, namespace: str, *, prefix: str = "") -> AsyncIterator[list[str]]:
        await self._chaos.before(self._host, "vectors", "ids")
        async for page in self._inner.ids(namespace, prefix=prefix):
            self._host.check()
            yield page

    async def namespaces(self, prefix: str) -> list[str]:
        return await self._chaos.call(self._host, "vectors", "namespaces", lambda: self._inner.namespaces(prefix))

    async def drop(self, namespace: str) -> None:
        await self._chaos.call(self._host, "vectors", "drop", lambda: self._inner.drop(namespace), mutates=True)
