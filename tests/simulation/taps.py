"""What is watched inside a history: how often things happened, and the invariants that no client can see.

A tap looks at what passes a port at the very moment of its effect; it never changes anything.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bloomweaver.domain import identity
from bloomweaver.domain.documents import DocumentKey, Row, VersionState
from bloomweaver.domain.events import Accepted, Hint, Lane, Outcome
from bloomweaver.ports import ledger, queues
from bloomweaver.reconciler import service as reconciler_service
from tests.simulation import databases, histories

if TYPE_CHECKING:
    from bloomweaver.domain.reasons import Reason
    from tests.simulation import world as worlds

FIRST_EPOCH = 1
"""Of a collection whose generation never changed."""

MOST_HINTS = 400
"""More than the few documents of a history can need."""

MOST_KILLED = 60
"""So many readers may die of one text before somebody begins anew: a few trains of hints, ended by the row's count."""


class Taps:
    """The taps of one history; counts go to the chaos's counters, violations to the history."""

    def __init__(self, world: worlds.World) -> None:
        self._world = world
        self._counts = world.chaos.counts
        self._newest: dict[DocumentKey, Row] = {}
        self._lost: set[tuple[str, DocumentKey]] = set()
        self._owed: set[tuple[str, DocumentKey]] = set()
        self._killed: Counter[str] = Counter()
        self._epochs: dict[str, int] = {}
        self._read_at: weakref.WeakKeyDictionary[asyncio.Task[Any], dict[DocumentKey, int]] = (
            weakref.WeakKeyDictionary()
        )
        self._methods: dict[str, Callable[[tuple[Any, ...], Any], None]] = {
            "accept": self._accepted,
            "retry": self._retried,
            "look": self._looked,
            "needed": self._needed,
            "rows": self._rows,
            "intend": self._intended,
            "settle": self._settled,
            "visible": self._visible,
            "owners": self._owners,
            "promote": self._counted_generation("promoted", "promote_refused"),
            "roll_back": self._counted_generation("rolled_back", "roll_back_refused"),
            "end_soak": self._counted_generation("soak_ended", "soak_end_lost"),
            "build": self._counted_generation("generation_changed", "generation_lost"),
            "garbage": self._garbage,
        }

    def seen(self, method: str, args: tuple[Any, ...], options: dict[str, Any], result: Any) -> None:
        """A call to the database took effect."""
        if method == "create_collection" and result[1]:
            self._world.lived(result[0], options["pipeline"])
        tap = self._methods.get(method)
        if tap is not None:
            tap(args, result)

    def troubled(self, reason: Reason) -> None:
        """A worker could not do its work."""
        self._counts[f"trouble_{reason}"] += 1

    def reported(self, report: reconciler_service.Report) -> None:
        """A reconciler finished a round."""
        for name, number in report.done.items():
            if number:
                self._counts[f"reconciler_{name}"] += 1

    def pure(self, namespace: str, dimension: int) -> None:
        """I14: a namespace is written and asked with vectors of its own pipeline's space alone."""
        named = identity.parse_namespace(namespace)
        expected = self._world.dimensions.get(named[2]) if named else None
        if expected != dimension:
            self._broken("I14", f"a vector of {dimension} dimensions for {namespace}, which has {expected}")

    def lost(self, queue: str, hint: Hint) -> None:
        """The queue lost a hint that it had taken: no worker is to blame for what is still to do."""
        self._lost.add((queue, hint.key))
        self._owed.discard((queue, hint.key))

    def sent(self, queue: str, hint: Hint) -> None:
        """The queue has a hint: whoever acks the last one is to blame for what is still to do."""
        if len(self._world.queues._queues[queue].messages) == MOST_HINTS:
            self._broken("I20", f"{queue} holds {MOST_HINTS} hints: they multiply")
        self._lost.discard((queue, hint.key))
        self._owed.discard((queue, hint.key))

    def kills(self, text: str) -> bool:
        """Whether the text takes its reader along; no text may do so without end."""
        if histories.Fate.KILLER not in text:
            return False
        self._killed[text] += 1
        if self._killed[text] == MOST_KILLED:
            self._broken("I19", f"{self._killed[text]} readers died of {text!r}")
        return True

    async def acked(self, host: str, queue: str, deliveries: Sequence[queues.Delivery]) -> None:
        """I12: what an acked hint asked for is done, was given up, or will be looked at again."""
        if queue.startswith(Lane.DELETE):
            return
        if any(delivery.receives > 1 for delivery in deliveries):
            self._counts["acked_after_redelivery"] += 1
        keys = [delivery.hint.key for delivery in deliveries]
        needed = await self._world.database.ledger.needed(keys)
        for delivery, wanted in zip(deliveries, needed, strict=True):
            hint, place = delivery.hint, (queue, delivery.hint.key)
            left = [s for s in wanted if queues.queue_of(s) == queue and (s.seq, s.pipe) == (hint.seq, hint.pipe)]
            if not left or self._hinted(queue, hint.key) or place in self._lost or place in self._owed:
                continue
            (row,) = await self._world.database.ledger.rows([hint.key])
            if row is None or row.failed or row.next_try is not None or self._overtaken(hint.key):
                continue
            self._broken("I12", f"{host} acked {hint.document_id} seq {hint.seq} in {queue}, still to do: {left}")

    def _overtaken(self, key: DocumentKey) -> bool:
        """The generation changed after the acking worker had read the row, so it was right by what it read.

        That is no excuse for the work to be forgotten: the change itself has to see to it that the reconciler comes.
        """
        task = asyncio.current_task()
        read_at = self._read_at.get(task, {}).get(key) if task is not None else None
        if read_at is None or read_at == self._epochs.get(key.collection_uid, FIRST_EPOCH):
            return False
        self._counts["acked_across_a_change"] += 1
        return databases.comes_to(self._world.database, key)

    def _hinted(self, queue: str, key: DocumentKey) -> bool:
        held = self._world.queues._queues[queue].messages.values()
        return any(message.hint.key == key for message in held)

    def _broken(self, invariant: str, what: str) -> None:
        self._world.history.violated(invariant, self._world.loop.time(), what)

    def _observe(self, row: Row) -> None:
        """I11: seq and floor never fall; live falls only to 0."""
        old = self._newest.get(row.key)
        self._newest[row.key] = row
        if old is None:
            return
        if row.seq < old.seq or row.fsrc < old.fsrc or row.src < old.src:
            self._broken("I11", f"{row.key.document_id}: seq, src or floor fell: {old} became {row}")
        if row.live < old.live and row.live != 0:
            self._broken("I11", f"{row.key.document_id}: live fell from {old.live} to {row.live}")
        if old.live and not row.live and not row.tomb:
            self._counts["unflip"] += 1

    def _owes(self, accepted: Accepted, key: DocumentKey) -> None:
        """Decided, so the webhook has hints to send: in its outbox, or lost with it until the reconciler looks."""
        self._owed.update((queues.queue_of(step), key) for step in accepted.steps)

    def _retried(self, args: tuple[Any, ...], result: Any) -> None:
        if isinstance(result, Accepted):
            self._owes(result, args[0])
            self._killed.clear()

    def _accepted(self, args: tuple[Any, ...], result: Any) -> None:
        for change, answer in zip(args[0], result, strict=True):
            if not isinstance(answer, Accepted):
                self._counts["refused"] += 1
                continue
            self._counts[f"outcome_{answer.outcome}"] += 1
            if answer.row is not None:
                self._observe(answer.row)
                self._owes(answer, answer.row.key)
            if change.deletes and answer.outcome is Outcome.SUPERSEDED:
                self._counts["late_delete"] += 1
            self._counts["large_text"] += answer.keeps_blob
            if change.content is not None and answer.outcome in (Outcome.CREATED, Outcome.UPDATED):
                self._counts["puts"] += 1
                self._counts["chunks_accepted"] += (change.content.text or "").count("\n\n") + 1

    def _needed(self, args: tuple[Any, ...], result: object) -> None:
        """A worker read these rows; what it acks in the same task, it acks by what it read."""
        task = asyncio.current_task()
        if task is not None:
            read = self._read_at.setdefault(task, {})
            read.update((key, self._epochs.get(key.collection_uid, FIRST_EPOCH)) for key in args[0])

    def _looked(self, args: tuple[Any, ...], result: list[ledger.Look | None]) -> None:
        self._needed(args, result)
        for look in result:
            if look is not None:
                self._observe(look.row)

    def _rows(self, args: tuple[Any, ...], result: list[Row | None]) -> None:
        for row in result:
            if row is not None:
                self._observe(row)

    def _visible(self, args: tuple[Any, ...], result: ledger.Visibility) -> None:
        if result.moved:
            self._counts["search_moved"] += 1

    def _intended(self, args: tuple[Any, ...], result: list[ledger.Intended]) -> None:
        for intended in result:
            self._counts["intent_won" if intended.won else "intent_lost"] += 1

    def _settled(self, args: tuple[Any, ...], result: list[ledger.Settled]) -> None:
        for settled in result:
            self._counts["flipped" if settled.flipped else "flip_refused"] += 1
            if settled.row is not None:
                self._observe(settled.row)

    def _owners(self, args: tuple[Any, ...], result: list[Any]) -> None:
        self._counts["sweep_hit"] += sum(owned.due for owned in result)
        late = [o for o in result if o.due and o.version is not None and o.version.state is VersionState.GONE]
        self._counts["sweep_hit_after_gone"] += len(late)

    def _garbage(self, args: tuple[Any, ...], result: list[Any]) -> None:
        self._counts["purged"] += sum(item.purge for item in result)
        self._counts["collected_builds"] += sum(item.build is not None for item in result)

    def _counted_generation(self, won: str, lost: str) -> Callable[[tuple[Any, ...], Any], None]:
        def count(args: tuple[Any, ...], result: Any) -> None:
            self._counts[won if result.generation is not None else lost] += 1
            if result.generation is not None:
                self._killed.clear()
                self._epochs[result.generation.collection_uid] = result.generation.epoch
            for pipeline in result.generation.pipelines if result.generation is not None else ():
                self._world.remember(pipeline)

        return count
