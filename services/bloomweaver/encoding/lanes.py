"""A lane: the queue in front of one kind of inference, and the one task that empties it.

Invariants: every passage that was taken in gets a vector or a failure, also when its neighbours fail; what waits is
bounded in number and bytes; and between two batches of a window, an owner that was not part of it gets a batch, so one
owner's bulk load delays another's single passage by a batch, not by the bulk.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bloomweaver.domain import errors, models, reasons
from bloomweaver.encoding import batches, budgets, figures
from bloomweaver.ports import embedders

_ID_BYTES = 4
_NEWCOMERS = 4
"""Passages let in between two batches of a window."""

OnBatch = Callable[[figures.Inference], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is taken at once.

    budget_tokens: padded tokens of a batch at most; how many it really is, is found by trying (`budgets`).
    batch_seconds: what a batch may take while queries come: one may have to wait for it on the same cores.
    bulk_seconds: what it may take while none come.
    window_passages: sorted by length together; more of them pad less.
    waiting_passages, waiting_bytes: beyond either, callers wait.
    """

    budget_tokens: int = 16_384
    batch_seconds: float = 0.02
    bulk_seconds: float = 0.25
    window_passages: int = 256
    waiting_passages: int = 4096
    waiting_bytes: int = 32 * 1024 * 1024


@dataclass(slots=True, eq=False)
class Call:
    """One caller's passages; `done` resolves when all have a row or a failure."""

    vectors: embedders.Vectors
    left: int
    done: asyncio.Future[None]
    failures: dict[int, errors.WorkError] = field(default_factory=dict)

    def fail(self, index: int, error: errors.WorkError) -> None:
        """Passage `index` gets no vector."""
        self.failures[index] = error
        self.settle()

    def settle(self) -> None:
        """One more passage is through."""
        self.left -= 1
        if self.left == 0 and not self.done.done():
            self.done.set_result(None)


@dataclass(slots=True, eq=False)
class _Item:
    call: Call
    index: int
    passage: embedders.Passage
    tokens: int
    bytes: int
    since: float


class Lane:
    """Start `run` in a task; `call` and `add` feed it."""

    def __init__(
        self,
        embedder: embedders.Embedder,
        kind: models.Kind,
        limits: Limits,
        *,
        on_batch: OnBatch,
        hurried: Callable[[], bool],
    ) -> None:
        """hurried: whether somebody waits behind this lane's batches who is to be answered soon."""
        self._on_batch = on_batch
        self._hurried = hurried
        self._budget = budgets.Budget(limits.budget_tokens)
        self.figures = figures.Figures(budget_tokens=self._budget.tokens(seconds=limits.bulk_seconds))
        self._embedder = embedder
        self._kind = kind
        self._limits = limits
        self._overhead = embedder.spec.max_tokens - embedder.spec.room(kind)
        self._owners: dict[str, deque[_Item]] = {}
        self._calls: set[Call] = set()
        self._wake = asyncio.Event()
        self._blocked: deque[asyncio.Future[None]] = deque()

    @property
    def full(self) -> bool:
        """Whether a caller would have to wait."""
        now = self.figures
        limits = self._limits
        return now.waiting_passages >= limits.waiting_passages or now.waiting_bytes >= limits.waiting_bytes

    def call(self, passages: int) -> Call:
        """A new call of this many passages."""
        vectors = np.full((passages, self._embedder.spec.dimension), np.nan, np.float32)
        call = Call(vectors, passages, asyncio.get_running_loop().create_future())
        self._calls.add(call)
        call.done.add_done_callback(lambda _: self._calls.discard(call))
        return call

    async def add(self, call: Call, index: int, passage: embedders.Passage, *, owner: str) -> None:
        """Queues one passage; waits while the lane is full."""
        loop = asyncio.get_running_loop()
        while self.full and not call.done.done():
            turn = loop.create_future()
            self._blocked.append(turn)
            await turn
        tokens, size = len(passage.ids) + self._overhead, _ID_BYTES * len(passage.ids) + len(passage.text)
        item = _Item(call, index, passage, tokens, size, loop.time())
        self.figures.waiting_passages += 1
        self.figures.waiting_bytes += size
        self._owners.setdefault(owner, deque()).append(item)
        self._wake.set()

    async def run(self) -> None:
        """Empties the queue for ever."""
        while True:
            await self._wake.wait()
            # Callers that are ready in the same turn of the loop share the window.
            await asyncio.sleep(0)
            served: set[str] = set()
            window = _sorted(self._take(self._limits.window_passages, served))
            while window:
                # Packed batch by batch: the budget may have changed since the last one.
                window = await self._embed_first(window)
                newcomers = _sorted(self._take(_NEWCOMERS, served, fresh_only=True))
                while newcomers:
                    newcomers = await self._embed_first(newcomers)

    def fail(self, error: BaseException) -> None:
        """Ends every open call: the lane has stopped."""
        for call in list(self._calls):
            if not call.done.done():
                call.done.set_exception(error)
        self._release_blocked()

    def _take(self, count: int, served: set[str], *, fresh_only: bool = False) -> list[_Item]:
        """Up to `count` items, one per owner in turn; `served` learns the owners."""
        taken: list[_Item] = []
        names = [owner for owner in self._owners if not (fresh_only and owner in served)]
        while names and len(taken) < count:
            for owner in names[: count - len(taken)]:
                taken.append(self._owners[owner].popleft())
                served.add(owner)
                if not self._owners[owner]:
                    del self._owners[owner]
            names = [owner for owner in names if owner in self._owners]
        if not self._owners:
            self._wake.clear()
        return taken

    async def _embed_first(self, items: list[_Item]) -> list[_Item]:
        """Embed as many of the sorted items as a batch holds; gives the others."""
        self._show_budget()
        count = batches.fitting(items[0].tokens, self._kind, budget_tokens=self.figures.budget_tokens)
        await self._embed(items[:count])
        return items[count:]

    async def _embed(self, batch: Sequence[_Item]) -> None:
        """Settles every item; halves the batch until the passage that fails stands alone."""
        wanted = [item for item in batch if not item.call.done.done()]
        self._forget([item for item in batch if item.call.done.done()])
        if not wanted:
            return
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            vectors = await self._embedder.embed([item.passage for item in wanted], self._kind)
        except errors.ConfigurationError as error:
            self._stop(wanted, error)
        except errors.TransientError as error:
            self._fail(wanted, error)
        except errors.WorkError as error:
            await self._isolate(wanted, error)
        except MemoryError as error:
            self._budget.out_of_memory()
            self._show_budget()
            detail = f"out of memory: {error}"
            await self._isolate(wanted, errors.RetryableError(reasons.Reason.EMBEDDING_FAILED, detail))
        else:
            self._measure(wanted, started, loop.time() - started)
            self._deliver(wanted, vectors)

    async def _isolate(self, items: Sequence[_Item], error: errors.WorkError) -> None:
        if len(items) == 1:
            self._fail(items, error)
            return
        middle = len(items) // 2
        await self._embed(items[:middle])
        await self._embed(items[middle:])

    def _deliver(self, items: Sequence[_Item], vectors: embedders.Vectors) -> None:
        finite = np.asarray(np.isfinite(vectors).all(axis=1)).tolist()
        for item, vector, valid in zip(items, vectors, finite, strict=True):
            if valid:
                item.call.vectors[item.index] = vector
                item.call.settle()
        broken = [item for item, valid in zip(items, finite, strict=True) if not valid]
        self._forget([item for item, valid in zip(items, finite, strict=True) if valid])
        self._fail(broken, errors.PermanentError(reasons.Reason.INVALID_VECTOR, "the model gave no finite vector"))

    def _fail(self, items: Sequence[_Item], error: errors.WorkError) -> None:
        for item in items:
            item.call.fail(item.index, error)
        self.figures.failures_total += len(items)
        self._forget(items)

    def _stop(self, items: Sequence[_Item], error: errors.ConfigurationError) -> None:
        for item in items:
            if not item.call.done.done():
                item.call.done.set_exception(error)
        self._forget(items)

    def _forget(self, items: Sequence[_Item]) -> None:
        self.figures.waiting_passages -= len(items)
        self.figures.waiting_bytes -= sum(item.bytes for item in items)
        self._release_blocked()

    def _release_blocked(self) -> None:
        while self._blocked:
            turn = self._blocked.popleft()
            if not turn.done():
                turn.set_result(None)

    def _show_budget(self) -> None:
        limits = self._limits
        seconds = limits.batch_seconds if self._hurried() else limits.bulk_seconds
        self.figures.budget_tokens = self._budget.tokens(seconds=seconds)

    def _measure(self, items: Sequence[_Item], started: float, seconds: float) -> None:
        now = self.figures
        tokens = sum(item.tokens for item in items)
        computed = models.padded(max(item.tokens for item in items), self._kind) * len(items)
        now.batches_total += 1
        now.passages_total += len(items)
        now.tokens_total += tokens
        now.padded_tokens_total += computed
        now.busy_seconds_total += seconds
        waits = [started - item.since for item in items]
        now.wait_seconds_total += sum(waits)
        self._budget.observe(computed, seconds)
        self._show_budget()
        work = figures.operations(self._embedder.spec.architecture, [item.tokens for item in items])
        now.operations_total += work
        self._on_batch(figures.Inference(self._kind, len(items), tokens, computed, seconds, max(waits), work))


def _sorted(items: list[_Item]) -> list[_Item]:
    return sorted(items, key=lambda item: -item.tokens)
