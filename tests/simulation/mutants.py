"""One deliberate defect per rule of the protocol. Each must be caught, or the simulator is blind to it in real code.

A mutant replaces a decision, a constant or a step of a service, as a careless change would, for as long as its hunt
lasts. Rules that back each other are removed together; what chance does not reach has a plan that leads there.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bloomweaver.adapters.engines.sqlite import documents
from bloomweaver.adapters.ledger import (
    sqlite,
    sqlite_accepting,
    sqlite_garbage,
    sqlite_healing,
)
from bloomweaver.adapters.registry import sqlite_generations
from bloomweaver.domain import identity, steps
from bloomweaver.domain.documents import Generation, Row, VersionState
from bloomweaver.domain.events import Hint, Outcome
from bloomweaver.embedder import service as embedder_service
from bloomweaver.ports import ledger, queues, registry
from bloomweaver.reconciler import sweeping
from bloomweaver.runtime import consumer
from bloomweaver.search import service as search_service
from bloomweaver.webhook import service as webhook_service
from bloomweaver.writer import service as writer_service
from tests.simulation import plans, simulate

PATIENCE = 1500
Swap = tuple[Any, str, Any]


@dataclass(frozen=True, slots=True)
class Killed:
    """How a hunt ended. by: the violation that caught it, None where it survived."""

    name: str
    histories: int
    by: str | None


@dataclass(frozen=True, slots=True)
class Mutant:
    """A defect: what it replaces, and the plan of each seed in which it is hunted."""

    name: str
    swaps: Callable[[], list[Swap]]
    plan: Callable[[int], plans.Plan] = plans.drawn


@contextlib.contextmanager
def alive(mutant: Mutant) -> Iterator[None]:
    """The defect is in the code."""
    swaps = mutant.swaps()
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in swaps]
    for owner, name, value in swaps:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in reversed(originals):
            setattr(owner, name, value)


def hunt(mutant: Mutant, *, patience: int = PATIENCE) -> Killed:
    """Run histories until one is caught."""
    with alive(mutant):
        for number in range(1, patience + 1):
            result = simulate.run(mutant.plan(number))
            if result.violations:
                found = sorted({violation.invariant for violation in result.violations})
                return Killed(mutant.name, number, " ".join(found))
    return Killed(mutant.name, patience, None)


async def _nothing(*_: Any, **__: Any) -> list[Any]:
    return []


def _hint_before_commit() -> list[Swap]:
    """R1 with R12: told before it is decided, and nobody asks again."""
    decide = webhook_service.WebhookService._decide

    async def told_first(self: Any, changes: Any, *, traceparent: str | None) -> Any:
        post, self._post = self._post, lambda *_, **__: None
        try:
            for change in changes:
                found = await self._registry.collection(change.tenant, change.collection)
                generation = found and await self._registry.generation(found.uid)
                if generation:
                    look = Hint(change.tenant, found.uid, change.document_id, 0, generation.active.pipe)
                    lanes = ("delete", f"change:{generation.active.space}")
                    await queues.tell(self._queues, [(lane, look) for lane in lanes])
            return await decide(self, changes, traceparent=traceparent)
        finally:
            self._post = post

    without_slots = (webhook_service.WebhookService, "_decide", told_first)
    return [without_slots, *_no_reconciler()]


def _no_inbox() -> list[Swap]:
    unseen = sqlite_accepting._EVENTS + " AND 0"
    insert = sqlite_accepting._INSERT_EVENT.replace("INSERT", "INSERT OR REPLACE", 1)
    return [(sqlite_accepting, "_EVENTS", unseen), (sqlite_accepting, "_INSERT_EVENT", insert)]


def _arrival_order() -> list[Swap]:
    """R3: what comes last wins, whatever its source version."""
    accept = steps._accept_put

    def last_wins(row: Row | None, change: Any, **rest: Any) -> steps.Decision:
        older = None if row is None else replace(row, src=-1)
        return accept(older, change, **rest)

    return [(steps, "_accept_put", last_wins)]


def _late_delete_ignored() -> list[Swap]:
    accept = steps._accept_delete

    def ignored(row: Row | None, change: Any, **rest: Any) -> steps.Decision:
        decision = accept(row, change, **rest)
        if decision.outcome is Outcome.SUPERSEDED:
            return steps.Decision(decision.outcome, row, reason=decision.reason)
        return decision

    return [(steps, "_accept_delete", ignored)]


def _workers_make_rows() -> list[Swap]:
    """R4, with R16: a worker that finds no row makes the one that it saw before."""
    seen: dict[Any, ledger.Look] = {}
    look = sqlite.SqliteLedger.look
    now: list[float] = [0.0]

    async def remembered(self: Any, keys: Any) -> Any:
        found = await look(self, keys)
        if self._now() < now[0]:
            seen.clear()
        now[0] = self._now()
        for key, known in zip(keys, found, strict=True):
            if known is not None and not known.row.tomb:
                seen[key] = known
            elif known is None and key in seen:
                old = seen[key]
                await self._engine.write(lambda connection, old=old: _make_row(connection, old))
        return await look(self, keys)

    return [(sqlite.SqliteLedger, "look", remembered), *_short_tombstones()]


def _make_row(connection: Any, old: ledger.Look) -> None:
    stored = documents.collection_by_uid(connection, old.collection.uid)
    revision = old.revision(old.row.seq)
    if stored is None or revision is None or revision.content is None:
        return
    did = connection.execute("SELECT coalesce(max(did), 0) + 1 FROM document").fetchone()[0]
    record, _ = documents.fresh(stored, replace(old.row, live=0, started=0), did)
    connection.execute(documents.INSERT, record)
    content = revision.content
    connection.execute(
        "INSERT OR REPLACE INTO revision (seq, did, src, media_type, content_hash, size_bytes, blob, title, url,"
        " metadata, origin, actor, request_id, event_id, occurred_at, accepted_at, tokens, text)"
        " VALUES (?, ?, ?, ?, ?, ?, NULL, NULL, NULL, '{}', '', '', '', '', NULL, 0, NULL, ?)",
        (old.row.seq, did, old.row.src, content.media_type, content.hash, content.size_bytes, content.text),
    )


def _no_intent() -> list[Swap]:
    """R5 with R13: an unfinished version leaves no trace, so its vectors are nobody's, and nobody sweeps."""
    kill = documents.kill

    def forgotten(connection: Any, held: documents.Held, doomed: Any, *, now: float) -> None:
        doomed = list(doomed)
        for version in doomed:
            if version.state in (VersionState.INTENT, VersionState.READY):
                documents.change_version(
                    connection, held, version, replace(version, state=VersionState.GONE, since=now)
                )
        kill(connection, held, [v for v in doomed if v.state is VersionState.LIVE], now=now)

    return [(documents, "kill", forgotten), *_no_sweep()]


def _ids_without_version() -> list[Swap]:
    def prefix(document_id: str, seq: int, pipe: str) -> str:
        return f"{identity.document_key(document_id)}/0/{pipe[:8]}/"

    return [(identity, "vector_prefix", prefix)]


def _no_barrier() -> list[Swap]:
    settlement = writer_service._settlement

    async def at_once(*_: Any) -> None:
        return

    return [
        (writer_service.WriterService, "_confirm", at_once),
        (writer_service, "_settlement", lambda job, position: settlement(job, None)),
    ]


def _unfenced_flip() -> list[Swap]:
    """R8, with the death of what is superseded: whoever settles last wins."""
    kill = documents.kill

    def always(row: Row, versions: Any, generation: Generation, *, seq: int, src: int, epoch: int) -> bool:
        active = generation.active.pipe
        return seq != row.live and all(
            steps.is_ready(versions, seq, p.pipe, active=active) for p in generation.pipelines
        )

    def spared(connection: Any, held: documents.Held, doomed: Any, *, now: float) -> None:
        alive = (VersionState.INTENT, VersionState.READY)
        kill(connection, held, [v for v in doomed if v.state not in alive], now=now)

    return [(steps, "may_flip", always), (documents, "kill", spared)]


def _deletes_first() -> list[Swap]:
    """R9: the old vectors go before the new ones come."""
    upsert = writer_service.WriterService._upsert

    async def cleared(self: Any, namespace: str, batch: Any) -> Any:
        for job in batch:
            old = steps.find(job.look.versions, job.look.row.live, job.version.pipe)
            if old is not None and old.seq != job.version.seq:
                ids = identity.vector_ids(job.hint.document_id, old.seq, old.pipe, old.n_chunks)
                await self._delete(namespace, ids)
        return await upsert(self, namespace, batch)

    return [(writer_service.WriterService, "_upsert", cleared)]


def _no_filter() -> list[Swap]:
    return [(search_service, "is_shown", lambda row, seq: True)]


def _lagging_rows() -> list[Swap]:
    """R10: rows from a replica that is 20 seconds behind."""
    visible, read = sqlite.SqliteLedger.visible, dict[Any, list[tuple[float, Any]]]()

    async def behind(self: Any, uid: Any, doc_ids: Any, *, snapshot: Any) -> ledger.Visibility:
        now = await visible(self, uid, doc_ids, snapshot=snapshot)
        rows = {}
        for name, row in now.rows.items():
            known = read.setdefault((id(self), uid, name), [])
            known.append((self._now(), row))
            older = [old for at, old in known if at <= self._now() - 20.0]
            rows[name] = older[-1] if older else known[0][1]
        return replace(now, rows=rows)

    return [(sqlite.SqliteLedger, "visible", behind)]


def _no_retry() -> list[Swap]:
    visible = sqlite.SqliteLedger.visible

    async def unmoved(self: Any, uid: Any, doc_ids: Any, *, snapshot: Any) -> ledger.Visibility:
        return replace(await visible(self, uid, doc_ids, snapshot=snapshot), moved=False)

    return [(sqlite.SqliteLedger, "visible", unmoved)]


def _no_reconciler() -> list[Swap]:
    return [(sqlite_healing.SqliteHealing, "stuck", _nothing)]


def _no_sweep() -> list[Swap]:
    async def swept(self: Any, *, force: bool) -> sweeping.Swept:
        return sweeping.Swept()

    async def unswept(*_: Any) -> None:
        return

    return [(sweeping.Sweeper, "sweep", swept), (writer_service.WriterService, "_remove_strays", unswept)]


def _cached_results() -> list[Swap]:
    """R14: answers are kept for two minutes."""
    search, kept = search_service.SearchService.search, dict[Any, tuple[float, Any]]()

    async def cached(self: Any, question: search_service.Question) -> search_service.Answer:
        now, key = self._ledger._chaos.loop.time(), (id(self), question)
        if key in kept and now - kept[key][0] < 120.0:
            answer: search_service.Answer = kept[key][1]
            return answer
        answer = await search(self, question)
        kept[key] = (now, answer)
        return answer

    return [(search_service.SearchService, "search", cached)]


def _gate_open() -> list[Swap]:
    return [(registry.Gate, "open", property(lambda gate: True))]


def _no_dual_write() -> list[Swap]:
    """R15: while another pipeline is built, changes go to the active one alone, and the gate is what was counted last.

    Each alone is harmless: with dual writes a gate that opened stays open, and a gate of this moment counts what lags.
    """
    targets, ready, gate = steps.targets, steps.may_flip, sqlite_generations.gate
    counted: dict[Any, registry.Gate] = {}

    def single(row: Row, versions: Any, pipe: str, *, active: str) -> tuple[int, ...]:
        return targets(row, versions, pipe, active=active) if pipe == active else ((row.live,) if row.live else ())

    def flip(row: Row, versions: Any, generation: Generation, **rest: Any) -> bool:
        return ready(row, versions, replace(generation, building=None, previous=None), **rest)

    def last_time(connection: Any, stored: Any, pipe: Any) -> registry.Gate:
        key, now = (stored.collection.uid, pipe), gate(connection, stored, pipe)
        before = counted.get(key, replace(now, ready=-1))
        counted[key] = now
        return before

    return [(steps, "targets", single), (steps, "may_flip", flip), (sqlite_generations, "gate", last_time)]


def _short_tombstones() -> list[Swap]:
    """R16: a tombstone lasts 20 seconds and waits for no sweep."""

    def purgeable(connection: Any, held: documents.Held, *, now: float) -> bool:
        old = held.row.tomb and now >= held.row.accepted_at + 20.0
        return old and all(v.state is VersionState.GONE for v in held.versions)

    return [
        (sqlite_garbage, "TOMBSTONE_KEPT_SECONDS", 20.0),
        (sqlite_accepting, "TEXT_KEPT_SECONDS", 20.0),
        (sqlite_garbage, "_purgeable", purgeable),
        (steps, "SECOND_REMOVAL_SECONDS", 0.0),
    ]


def _receipts_forgotten() -> list[Swap]:
    """R12: a hint that is put off begins anew, as if nobody had died of it."""
    return [(consumer, "told", lambda delivery: delivery.hint)]


def _a_hint_per_trouble() -> list[Swap]:
    """R12: what is put off is sent as often as somebody asked for it, and no hint makes another of its document old."""

    async def everything(self: Any, hints: Sequence[Hint]) -> Sequence[Hint]:
        return hints

    return [(consumer, "distinct", list), (embedder_service.EmbedderService, "sift", everything)]


def _tombstones_for_ever() -> list[Swap]:
    return [(sqlite_garbage, "_purgeable", lambda *_, **__: False)]


def _by_name(*mutants: Mutant) -> dict[str, Mutant]:
    return {mutant.name: mutant for mutant in mutants}


MUTANTS = _by_name(
    Mutant("R1+R12 hint before commit", _hint_before_commit),
    Mutant("R2 no inbox", _no_inbox),
    Mutant("R3 arrival order", _arrival_order),
    Mutant("R3 late delete ignored", _late_delete_ignored, plans.overtaking),
    Mutant("R4 workers make rows", _workers_make_rows, plans.zombies),
    Mutant("R5+R13 no intent", _no_intent),
    Mutant("R6 ids without version", _ids_without_version),
    Mutant("R7 no barrier", _no_barrier, plans.busy),
    Mutant("R7 no probe", _no_barrier, plans.unpositioned),
    Mutant("R8 unfenced flip", _unfenced_flip),
    Mutant("R9 deletes first", _deletes_first),
    Mutant("R10 no filter", _no_filter),
    Mutant("R10 rows from a replica", _lagging_rows),
    Mutant("R11 no retry on a flip", _no_retry),
    Mutant("R12 no reconciler", _no_reconciler),
    Mutant("R12 receipts forgotten", _receipts_forgotten, plans.mixed),
    Mutant("R12 a hint per trouble", _a_hint_per_trouble, plans.mixed),
    Mutant("R13 no sweep", _no_sweep),
    Mutant("R14 results cached", _cached_results),
    Mutant("R15 promotion without gate", _gate_open, plans.reindexing),
    Mutant("R15 no dual write, late gate", _no_dual_write, plans.editing),
    Mutant("R16 tombstones for ever", _tombstones_for_ever),
    Mutant("R16 tombstones of 20 s", _short_tombstones, plans.forgetful),
)
