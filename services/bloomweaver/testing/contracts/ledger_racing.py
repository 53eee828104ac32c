"""What `ports.ledger` promises to several processes that share one database: they decide as one would.

Subclass it and supply the fixtures `database` and `other` (the four ports of one database, opened twice) and `time`.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

import pytest

from bloomweaver.domain.documents import Row, State, VersionState
from bloomweaver.domain.events import Accepted, Outcome
from bloomweaver.domain.identity import BuildId
from bloomweaver.ports import ledger as ports
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import world

NAMES = tuple(f"doc-{number:02}" for number in range(24))


class RacingContract:
    """Every adapter whose database several processes can share passes these unchanged."""

    @pytest.fixture
    async def w(self, database: world.Database, time: clocks.ManualClock) -> world.World:
        """One process."""
        return await world.make(database, time)

    @pytest.fixture
    async def o(self, w: world.World, other: world.Database) -> world.World:
        """Another one, on the same collection."""
        return world.World(other, w.time, w.collection)

    async def test_the_same_new_documents_are_created_once(self, w: world.World, o: world.World) -> None:
        mine = [w.change(f"mine {name}", name, event_id=f"mine-{name}") for name in NAMES]
        theirs = [o.change(f"theirs {name}", name, event_id=f"theirs-{name}") for name in reversed(NAMES)]
        answers = accepted(await asyncio.gather(w.ledger.accept(mine), o.ledger.accept(theirs)))
        outcomes = sorted(answer.outcome for answer in answers)
        assert outcomes == [Outcome.CREATED] * len(NAMES) + [Outcome.UPDATED] * len(NAMES)
        assert len({answer.seq for answer in answers}) == 2 * len(NAMES)
        for name, row in zip(NAMES, await rows(o), strict=True):
            assert row.seq == max(a.seq for a in answers if a.row is not None and a.row.key.document_id == name)

    async def test_an_event_that_both_receive_is_decided_once(self, w: world.World, o: world.World) -> None:
        changes = [w.change("text", name, event_id=f"event-{name}") for name in NAMES]
        calls = [one.ledger.accept([change]) for change in changes for one in (w, o, w)]
        answers = accepted(await asyncio.gather(*calls))
        assert sum(answer.outcome is Outcome.CREATED for answer in answers) == len(NAMES)
        assert sum(answer.outcome is Outcome.DUPLICATE for answer in answers) == 2 * len(NAMES)
        assert all(answer.seq for answer in answers)

    async def test_an_event_id_stands_for_one_document(self, w: world.World, o: world.World) -> None:
        mine, theirs = w.change("text", "doc-a", event_id="same"), o.change("text", "doc-b", event_id="same")
        answers = await asyncio.gather(w.ledger.accept([mine]), o.ledger.accept([theirs]))
        assert sorted(type(answer).__name__ for (answer,) in answers) == ["Accepted", "Rejected"]

    async def test_batches_in_any_order_do_not_wait_for_each_other_in_a_ring(
        self, w: world.World, o: world.World
    ) -> None:
        async def send(one: world.World, turn: int) -> list[Accepted]:
            names = NAMES if turn % 2 else NAMES[::-1]
            changes = [one.change(f"text {turn}", name, event_id=f"{id(one)}-{turn}-{name}") for name in names]
            return accepted([await one.ledger.accept(changes)])

        answers = await asyncio.gather(*(send(one, turn) for turn in range(5) for one in (w, o)))
        assert sum(len(batch) for batch in answers) == 10 * len(NAMES)
        given = [answer.seq for batch in answers for answer in batch if answer.outcome is not Outcome.UNCHANGED]
        assert len(set(given)) == len(given)
        assert (await o.ledger.counts(world.TENANT))[State.PENDING] == len(NAMES)

    async def test_the_first_build_wins(self, w: world.World, o: world.World) -> None:
        for name in NAMES:
            await w.put("text", name)
        seqs = {str(row.key.document_id): row.seq for row in await rows(w)}

        async def intend(one: world.World, build: str) -> list[ports.Intended]:
            order = NAMES if one is w else NAMES[::-1]
            intents = [replace(one.intent(seqs[name], name), build=BuildId(f"{build}-{name}")) for name in order]
            return await one.ledger.intend(intents)

        mine, theirs = await asyncio.gather(intend(w, "mine"), intend(o, "theirs"))
        for one, another in zip(mine, reversed(theirs), strict=True):
            assert one.won is not another.won
            assert one.version == another.version

    async def test_what_is_deleted_meanwhile_is_not_shown(self, w: world.World, o: world.World) -> None:
        for name in NAMES:
            await w.intend(await w.put("text", name), name)
        seqs = [row.seq for row in await rows(w)]
        epoch = await w.epoch()
        settlements = [
            ports.Settlement(w.key(name), seq, world.A.pipe, epoch) for name, seq in zip(NAMES, seqs, strict=True)
        ]
        deletes = [o.change(None, name, event_id=f"delete-{name}") for name in NAMES]
        await asyncio.gather(
            *(w.ledger.settle([settlement]) for settlement in settlements),
            *(o.ledger.accept([change]) for change in reversed(deletes)),
        )
        assert {(row.tomb, row.live) for row in await rows(o)} == {(True, 0)}
        for name in NAMES:
            assert set((await w.states(name)).values()) == {VersionState.DEAD}

    async def test_a_search_sees_what_the_other_process_flips(self, w: world.World, o: world.World) -> None:
        seq = await w.put()
        await w.intend(seq)
        snapshot = await o.ledger.snapshot([w.collection.uid])
        await w.settle(seq)
        seen = await o.ledger.visible(w.collection.uid, [world.DOCUMENT], snapshot=snapshot)
        assert (seen.moved, seen.rows[world.DOCUMENT].live) == (True, seq)
        again = await o.ledger.snapshot([w.collection.uid])
        assert not (await w.ledger.visible(w.collection.uid, [world.DOCUMENT], snapshot=again)).moved


def accepted(answers: Iterable[Iterable[object]]) -> list[Accepted]:
    """None of them refused."""
    flat = [answer for batch in answers for answer in batch]
    assert all(isinstance(answer, Accepted) for answer in flat), flat
    return [answer for answer in flat if isinstance(answer, Accepted)]


async def rows(one: world.World) -> list[Row]:
    """Of all the documents, in the order of NAMES."""
    found = await one.ledger.rows([one.key(name) for name in NAMES])
    assert all(row is not None for row in found)
    return [row for row in found if row is not None]
