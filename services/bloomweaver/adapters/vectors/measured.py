"""A vector store whose calls are timed; `runtime.metrics.Metrics` is a `Recorder`."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Protocol

from bloomweaver.domain import errors
from bloomweaver.domain.filters import Filter
from bloomweaver.ports import clock as clocks
from bloomweaver.ports import vectors


class Recorder(Protocol):
    """Where the numbers go. outcome: `ok`, or the reason of the failure."""

    def observe_store(self, backend: str, op: str, *, outcome: str, seconds: float) -> None: ...


class MeasuredVectors:
    """Wraps a store; backend is its name in the metrics."""

    def __init__(self, inner: vectors.Vectors, recorder: Recorder, *, backend: str, clock: clocks.Clock) -> None:
        self._inner = inner
        self._recorder = recorder
        self._backend = backend
        self._clock = clock
        self.capabilities = inner.capabilities

    async def upsert(self, namespace: str, records: Sequence[vectors.Record]) -> int | None:
        with self._timed("upsert"):
            return await self._inner.upsert(namespace, records)

    async def delete(self, namespace: str, ids: Sequence[str]) -> None:
        with self._timed("delete"):
            await self._inner.delete(namespace, ids)

    async def query(
        self, namespace: str, vector: vectors.Vector, *, k: int, where: Filter | None = None
    ) -> vectors.Matches:
        with self._timed("query"):
            return await self._inner.query(namespace, vector, k=k, where=where)

    async def present(self, namespace: str, ids: Sequence[str]) -> set[str]:
        with self._timed("present"):
            return await self._inner.present(namespace, ids)

    async def ids(self, namespace: str, *, prefix: str = "") -> AsyncIterator[list[str]]:
        async for page in self._inner.ids(namespace, prefix=prefix):
            yield page

    async def namespaces(self, prefix: str) -> list[str]:
        with self._timed("namespaces"):
            return await self._inner.namespaces(prefix)

    async def drop(self, namespace: str) -> None:
        with self._timed("drop"):
            await self._inner.drop(namespace)

    @contextlib.contextmanager
    def _timed(self, op: str) -> Iterator[None]:
        began, outcome = self._clock.monotonic(), "ok"
        try:
            yield
        except errors.BloomWeaverError as error:
            outcome = str(error.reason)
            raise
        finally:
            seconds = self._clock.monotonic() - began
            self._recorder.observe_store(self._backend, op, outcome=outcome, seconds=seconds)
