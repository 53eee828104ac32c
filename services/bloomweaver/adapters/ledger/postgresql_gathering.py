"""Group commit for accepts: changes that arrive while a commit is being synced share the next one.

Invariants: a caller hears of success only after the COMMIT that holds its changes has returned; what goes wrong with
one caller's changes is nobody else's error; a commit whose answer was lost is told as an error and not repeated here,
for the repetition would answer `duplicate` to a caller who had not been answered before.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from bloomweaver.adapters.engines.postgresql import engine
from bloomweaver.adapters.ledger import postgresql_accepting
from bloomweaver.domain import errors
from bloomweaver.domain.events import Accepted, Change, Rejected

BATCH_CHANGES = 128
"""At most so many changes share a commit, unless one caller brings more: it bounds how long the first of them waits."""

Answers = list[Accepted | Rejected]


@dataclass(frozen=True, slots=True)
class _Call:
    changes: Sequence[Change]
    future: asyncio.Future[Answers]


class Gathering:
    """One batch is under way at a time; the next one is everything that came meanwhile."""

    def __init__(self, engine: engine.Engine) -> None:
        self._engine = engine
        self._waiting: list[_Call] = []
        self._working: asyncio.Task[None] | None = None

    async def accept(self, changes: Sequence[Change]) -> Answers:
        """The answers, in order, after their commit."""
        if not changes:
            return []
        call = _Call(changes, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        return await call.future

    async def _work(self) -> None:
        while self._waiting:
            calls = self._next_calls()
            if not await self._together(calls):
                for call in calls:
                    await self._together([call])
        self._working = None

    def _next_calls(self) -> list[_Call]:
        calls: list[_Call] = []
        size = 0
        while self._waiting and (not calls or size + len(self._waiting[0].changes) <= BATCH_CHANGES):
            call = self._waiting.pop(0)
            if not call.future.done():  # the caller may have gone away meanwhile
                calls.append(call)
                size += len(call.changes)
        return calls

    async def _together(self, calls: list[_Call]) -> bool:
        """Commit these as one. False: it failed by the fault of one of them, and each is to be tried alone."""
        if not calls:
            return True
        changes = [change for call in calls for change in call.changes]
        run = asyncio.create_task(
            self._engine.run(lambda tx: postgresql_accepting.accept(tx, changes), repeatable=False)
        )
        await asyncio.wait([run])
        error = run.exception()
        if error is not None and len(calls) > 1 and not isinstance(error, errors.BloomWeaverError):
            return False
        answers = iter(() if error is not None else run.result())
        for call in calls:
            if call.future.done():
                continue
            if error is not None:
                call.future.set_exception(error)
            else:
                call.future.set_result([next(answers) for _ in call.changes])
        return True
