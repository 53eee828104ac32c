"""Those who send changes: applications with their own order of versions, retries, resends and reordering.

A client knows only what a real one would: what it sent and what it was answered. It writes both into the history.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Any, Protocol

from bloomweaver.domain import errors, identity
from bloomweaver.domain.documents import Meta
from bloomweaver.domain.events import Accepted, ChangeType, MetaPatch, Outcome, Rejected
from bloomweaver.domain.identity import TenantId
from bloomweaver.testing import chaos, loop
from bloomweaver.webhook import service as webhook_service
from tests.simulation import histories, plans
from tests.simulation.histories import Kind, Operation, Place

TAGS = ("red", "green", "blue")
TRIES = 12
TEXT_MARK = "mark"
PADDING = " " * (identity.INLINE_TEXT_BYTES + 1)


class Server(Protocol):
    """A process that takes changes."""

    host: loop.Host
    service: Any


class Deployment(Protocol):
    """What a client needs of the world that it lives in, the real one or the naive one."""

    plan: plans.Plan
    history: histories.History
    loop: loop.VirtualLoop
    chaos: chaos.Chaos

    def alive(self, role: str) -> Sequence[Server]:
        """The processes of a role that answer now."""
        ...

    def tell(self, who: str, what: str, outcome: str) -> None:
        """A line of the timeline."""
        ...


def submission_of(op: Operation) -> webhook_service.Submission:
    """The operation as it goes over the wire."""
    changes = {Kind.PUT: ChangeType.UPSERT, Kind.PATCH: ChangeType.UPDATE, Kind.DELETE: ChangeType.DELETE}
    puts = op.kind is Kind.PUT
    return webhook_service.Submission(
        collection=op.place.collection,
        document_id=op.place.document,
        change_type=changes[op.kind],
        text="\n\n".join(op.paragraphs) + PADDING * op.large if puts else None,
        meta=Meta(metadata={"tag": op.tag}) if puts else Meta(),
        patch=MetaPatch(metadata={"tag": op.tag}) if op.kind is Kind.PATCH else None,
        source_version=op.version,
        event_id=op.event_id,
    )


class Writer:
    """One application that owns one document: its operations, one after the other or reordered on the way."""

    def __init__(self, world_: Deployment, place: Place, *, source_ordered: bool) -> None:
        self._world = world_
        self._place = place
        self._source_ordered = source_ordered
        self._rng = random.Random(f"writer/{world_.plan.seed}/{place}")
        self._version = 0
        self._current: tuple[str, ...] = ()
        self._drafts = 0
        self._sent: list[Operation] = []

    async def run(self) -> None:
        """Every operation, spread over the active time."""
        plan, rng, tasks = self._world.plan, self._rng, []
        for _ in range(plan.operations):
            await asyncio.sleep(rng.expovariate(plan.operations / plan.active_seconds))
            if self._world.loop.time() > plan.active_seconds:
                break
            op = self._next()
            tasks.append(asyncio.create_task(self._deliver(op)))
            if not self._source_ordered and rng.random() < 0.7:
                await tasks[-1]
        await asyncio.gather(*tasks)

    def _next(self) -> Operation:
        rng, plan = self._rng, self._world.plan
        if self._sent and self._source_ordered and rng.random() < plan.again_share:
            return self._again(rng.choice(self._sent))
        draw = rng.random()
        patches = 0.12 if plan.patches else 0.0
        kind = (
            Kind.DELETE if draw < plan.delete_share else Kind.PATCH if draw < plan.delete_share + patches else Kind.PUT
        )
        op = self._world.history.operation(self._place, kind, now=self._world.loop.time())
        if kind is Kind.PUT:
            self._current = self._edited()
            op.large = rng.random() < plan.large_share
            op.paragraphs = self._current
            if rng.random() < plan.fate_share:
                op.fate = rng.choice(plan.fates)
                op.paragraphs = (*op.paragraphs, f"{op.fate} p{op.number}")
        op.tag = rng.choice(TAGS)
        if self._source_ordered and kind is not Kind.PATCH:
            self._version += rng.randint(1, 3)
            op.version = self._version
        self._sent.append(op)
        return op

    def _again(self, old: Operation) -> Operation:
        """An old version is sent again as a new event, as connectors do after a restart of their own."""
        op = self._world.history.operation(self._place, old.kind, now=self._world.loop.time())
        op.paragraphs, op.tag, op.version, op.fate = old.paragraphs, old.tag, old.version, old.fate
        op.large = old.large
        return op

    def _edited(self) -> tuple[str, ...]:
        """One paragraph of the text edited, added or removed; now and then the same text again."""
        rng, paragraphs = self._rng, list(self._current)
        if paragraphs and rng.random() < 0.15:
            return self._current
        if paragraphs and rng.random() < 0.7:
            place = rng.randrange(len(paragraphs))
            paragraphs[place : place + 1] = [self._paragraph()] * rng.choice([0, 1, 1, 1])
        if not paragraphs or (len(paragraphs) < 3 and rng.random() < 0.5):
            paragraphs.append(self._paragraph())
        return tuple(paragraphs)

    def _paragraph(self) -> str:
        self._drafts += 1
        place = self._place
        shared = "alpha" if self._rng.random() < 0.5 else "beta"
        mark = f"{TEXT_MARK}{place.tenant}{place.document}p{self._drafts}x"
        return f"{shared} canary{place.tenant} {place.document} {mark} gamma delta"

    async def _deliver(self, op: Operation) -> None:
        plan, rng = self._world.plan, self._rng
        if self._source_ordered:
            await asyncio.sleep(rng.random() * plan.reordering_seconds)
        await send(self._world, op, rng=rng)
        while rng.random() < plan.resend_share:
            await asyncio.sleep(rng.random() * 300.0)
            await send(self._world, op, rng=rng)


async def send(world_: Deployment, op: Operation, *, rng: random.Random) -> None:
    """Send until answered, with the same event id every time; a repeated answer has to be the same answer (I10)."""
    for attempt in range(TRIES):
        op.last_sent = world_.loop.time()
        webhooks = world_.alive("webhook")
        try:
            if not webhooks:
                raise loop.Lost
            chosen = rng.choice(webhooks)
            caller = webhook_service.Caller(TenantId(op.place.tenant), "client", f"r{op.number}.{attempt}")
            async with asyncio.timeout(world_.plan.client_patience_seconds):
                (answer,) = await chosen.host.call(chosen.service.accept([submission_of(op)], caller=caller))
        except (loop.Lost, errors.TransientError, TimeoutError) as error:
            world_.tell("client", str(op), f"no answer: {type(error).__name__} {error}")
            await asyncio.sleep(1.0 + rng.random() * 10.0 * (attempt + 1))
            continue
        note(world_, op, answer)
        return


def note(world_: Deployment, op: Operation, answer: Accepted | Rejected) -> None:
    """Write the answer into the history, and compare it with an earlier one."""
    now, first = world_.loop.time(), op.outcome is None
    if isinstance(answer, Rejected):
        world_.tell("client", str(op), f"refused: {answer.refusal}")
        if first:
            op.refused, op.ended = str(answer.refusal.reason), now
        return
    outcome = str(answer.original if answer.outcome is Outcome.DUPLICATE else answer.outcome)
    world_.tell("client", str(op), f"{answer.outcome} {outcome} seq {answer.seq}")
    if first:
        op.refused = None
        op.outcome, op.seq, op.uid, op.ended = outcome, answer.seq, answer.collection_uid, now
        return
    if answer.collection_uid != op.uid:
        # The collection was made again under the same name, so there the event was a new one.
        if (twin := world_.history.twin(op, uid=answer.collection_uid, outcome=outcome, seq=answer.seq)) is not None:
            # A duplicate was accepted by an earlier try, whose answer was lost: nobody knows by which.
            twin.started = op.started if answer.outcome is Outcome.DUPLICATE else op.last_sent
            twin.ended = now
        return
    world_.chaos.counts["resent"] += 1
    if (outcome, answer.seq) != (op.outcome, op.seq) or answer.outcome is not Outcome.DUPLICATE:
        told = f"{op} was {op.outcome} seq {op.seq}, and when sent again {answer.outcome} {outcome} seq {answer.seq}"
        world_.history.violated("I10", now, told)
