"""The ledger against a small model of it, in random histories: R3, R8, and that what is shown was sent and is alone.

Beside the model's answers, these hold after every step: what is shown only moves forward or away (I11); the same event
again changes nothing (I10); whatever waits is on the reconciler's list (R12); counts are those of the rows.
"""

import asyncio
import contextlib
import tempfile
from typing import Any

import hypothesis
import pytest
from hypothesis import stateful
from hypothesis import strategies as st

from bloomweaver.domain.documents import Meta, Ordering, Version
from bloomweaver.domain.events import Accepted, Change, MetaPatch
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import ledger
from bloomweaver.testing import clocks
from bloomweaver.testing.contracts import world
from tests.support import databases, ledger_model

NAMES = st.sampled_from(["one", "two"])
TEXTS = st.sampled_from(["red", "green", "blue"])
TEAMS = st.sampled_from(["hr", "legal"])
VERSIONS = st.integers(1, 9)
PICKS = st.integers(0, 7)
UNWATCHED = "SELECT doc FROM document WHERE lane IS NULL AND NOT tomb AND NOT failed AND live <> seq"
UNTIMED = "SELECT did, seq FROM version WHERE (state = 'dead') <> (remove_at IS NOT NULL)"
MISCOUNTED = (
    "SELECT state, sum(n) FROM (SELECT cid, state, -documents AS n FROM tally"
    " UNION ALL SELECT cid, state, count(*) FROM document GROUP BY cid, state) t GROUP BY cid, state HAVING sum(n) <> 0"
)
MIXED = (
    "SELECT d.doc FROM document d JOIN version v USING (did)"
    " WHERE v.state = 'live' AND v.seq <> d.live OR v.state <> 'gone' AND v.seq < d.live AND v.state <> 'dead'"
)


class LedgerMachine(stateful.RuleBasedStateMachine):
    """Histories of two documents in one collection, with workers, re-indexes and a reconciler."""

    url = "mem://"

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = contextlib.AsyncExitStack()
        self.changes: list[Change] = []
        self.highest_live: dict[str, int] = {}
        self.pipes = {"a": world.A}

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def opening(self, time: clocks.ManualClock) -> contextlib.AbstractAsyncContextManager[Any]:
        """A database of this history's own."""
        folder = self.stack.enter_context(tempfile.TemporaryDirectory()) if self.url != "mem://" else ""
        return databases.opened(self.url.format(folder=folder), time)

    def troubles(self) -> list[Any]:
        """What the tables hold that they should not, which no port would tell."""
        found: list[Any] = []
        for statement in (UNWATCHED, UNTIMED, MISCOUNTED, MIXED):

            def rows(connection: Any, statement: str = statement) -> list[Any]:
                return [(statement, row) for row in connection.execute(statement)]

            found += self.run(self.database.engine.read(rows))
        return found

    @stateful.initialize(by_source=st.booleans())
    def begin(self, by_source: bool) -> None:
        time = databases.clock()
        self.database: Any = self.run(self.stack.enter_async_context(self.opening(time)))
        ordering = Ordering.SOURCE if by_source else Ordering.ARRIVAL
        self.world = self.run(world.make(self.database, time, ordering=ordering))
        self.model = ledger_model.Model(by_source)
        for name in ("one", "two"):
            self.put(name, "red", 3)

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.runner.close()

    def send(self, change: Change) -> Any:
        self.changes.append(change)
        (answer,) = self.run(self.world.ledger.accept([change]))
        return answer

    def version(self, number: int) -> int | None:
        return number if self.model.by_source else None

    @stateful.rule(name=NAMES, text=TEXTS, version=VERSIONS)
    def put(self, name: str, text: str, version: int) -> None:
        meta = Meta(title="T", metadata={"team": "hr"})
        answer = self.send(self.world.change(text, name, version=self.version(version), meta=meta))
        assert isinstance(answer, Accepted)
        expected = self.model.put(name, text, version=version, seq=answer.seq)
        assert answer.outcome == expected

    @stateful.rule(name=NAMES, version=VERSIONS)
    def delete(self, name: str, version: int) -> None:
        answer = self.send(self.world.change(None, name, version=self.version(version)))
        assert isinstance(answer, Accepted)
        assert answer.outcome == self.model.delete(name, version=version, seq=answer.seq)

    def ordered(self, name: str) -> ledger_model.Document | None:
        """A document of a collection where order keys are the client's."""
        return self.model.documents[name] if self.model.by_source else None

    @stateful.rule(name=NAMES, ahead=st.integers(1, 3))
    def affirm(self, name: str, ahead: int) -> None:
        """The same again, from a later version of the source."""
        document = self.ordered(name)
        if document is not None and not document.tomb:
            self.put(name, document.sent[document.seq].text, document.src + ahead)

    @stateful.rule(name=NAMES, text=TEXTS, ahead=st.integers(1, 3))
    def renew(self, name: str, text: str, ahead: int) -> None:
        document = self.ordered(name)
        if document is not None:
            self.put(name, text, document.src + ahead)

    @stateful.rule(name=NAMES, text=TEXTS, behind=st.integers(0, 4))
    def delete_late(self, name: str, text: str, behind: int) -> None:
        """A delete of an earlier version than the one that is wanted and not shown yet."""
        document = self.ordered(name)
        if document is not None:
            self.put(name, text, document.src + 2)
            self.delete(name, max(1, document.src - behind))

    @stateful.rule(name=NAMES, team=TEAMS)
    def patch(self, name: str, team: str) -> None:
        answer = self.send(self.world.change(None, name, patch=MetaPatch(metadata={"team": team})))
        expected = self.model.patch(name, team, seq=answer.seq if isinstance(answer, Accepted) else 0)
        assert (answer.outcome if isinstance(answer, Accepted) else None) == expected

    @stateful.precondition(lambda self: self.changes)
    @stateful.rule(pick=PICKS)
    def send_again(self, pick: int) -> None:
        change = self.changes[pick % len(self.changes)]
        stored = self.run(
            self.world.ledger.event(self.world.collection.uid, source="api", event_id=change.event.event_id)
        )
        if stored is None:
            return  # it was refused, so nothing of it is stored
        (before,) = self.run(self.world.ledger.look([self.world.key(change.document_id)]))
        (answer,) = self.run(self.world.ledger.accept([change]))
        assert (answer.outcome, answer.original, answer.seq) == ("duplicate", stored.outcome, stored.seq)
        assert self.run(self.world.ledger.look([self.world.key(change.document_id)])) == [before]

    def choose(self, name: str, pick: int) -> int:
        """One of the document's accepted seqs, the desired one most often."""
        document = self.model.documents[name]
        known = sorted(document.sent, reverse=True)
        return known[0] if pick < 4 else known[pick % len(known)]

    def pipe(self, pick: int) -> str:
        return list(self.pipes)[pick % len(self.pipes)] if pick > 5 else self.model.pipes[pick % len(self.model.pipes)]

    @stateful.rule(name=NAMES, pick=PICKS, pipe=PICKS)
    def intend(self, name: str, pick: int, pipe: int) -> None:
        seq, into = self.choose(name, pick), self.pipe(pipe)
        document = self.model.documents[name]
        wanted = self.model.wanted(document, seq, into)
        standing = document.versions.get((seq, into)) in ("intent", "ready")
        answer = self.run(self.world.intend(seq, name, pipe=self.pipes[into].pipe, count=pick % 3))
        assert answer.won == (wanted or standing)
        if wanted:
            document.versions[seq, into] = "intent"

    @stateful.rule(name=NAMES, pick=PICKS, pipe=PICKS)
    def settle(self, name: str, pick: int, pipe: int) -> None:
        seq, into = self.choose(name, pick), self.pipe(pipe)
        answer = self.run(self.world.settle(seq, name, pipe=self.pipes[into].pipe))
        assert answer.flipped == self.model.settle(name, seq, into)

    @stateful.rule(name=NAMES, pipe=PICKS)
    def work(self, name: str, pipe: int) -> None:
        """A worker that gets through: intent and settlement of the desired seq."""
        self.intend(name, 1, pipe)
        self.settle(name, 1, pipe)

    @stateful.rule(name=NAMES)
    def work_everywhere(self, name: str) -> None:
        for pipe in range(len(self.model.pipes)):
            self.work(name, pipe)

    @stateful.rule(name=NAMES, text=TEXTS, ahead=st.integers(1, 3), pipe=PICKS)
    def renew_and_work(self, name: str, text: str, ahead: int, pipe: int) -> None:
        document = self.model.documents[name]
        self.put(name, text, document.src + ahead if self.model.by_source else 1)
        self.work(name, pipe)

    @stateful.rule(name=NAMES, pick=PICKS, pipe=PICKS)
    def fail(self, name: str, pick: int, pipe: int) -> None:
        seq, into = self.choose(name, pick), self.pipe(pipe)
        where = (self.world.key(name), seq, self.pipes[into].pipe)
        self.run(self.world.ledger.fail(ledger.Failure(*where, Reason.UNPARSABLE, "", permanent=True)))
        self.model.fail(name, seq, into)

    @stateful.precondition(lambda self: self.model.building)
    @stateful.rule(name=NAMES)
    def give_up_elsewhere(self, name: str) -> None:
        """The building pipeline fails what the active one can do."""
        self.fail(name, 1, 1)

    @stateful.rule(name=NAMES)
    def retry(self, name: str) -> None:
        answer = self.run(self.world.ledger.retry(self.world.key(name), actor="a", request_id="r"))
        if answer is not None:
            self.model.retry(name)

    @stateful.rule(pick=PICKS)
    def re_index(self, pick: int) -> None:
        """Seldom in the place of one that is under way."""
        if self.model.building and pick:
            return
        name = f"p{len(self.pipes)}"
        self.pipes[name] = world.pipeline(name)
        self.run(self.world.build(self.pipes[name]))
        self.model.generation(active=self.model.active, building=name, previous=self.model.previous)

    @stateful.precondition(lambda self: self.model.building)
    @stateful.rule()
    def cancel(self) -> None:
        self.run(self.world.build(None))
        self.model.generation(active=self.model.active, building=None, previous=self.model.previous)

    @stateful.precondition(lambda self: self.model.building)
    @stateful.rule(force=st.booleans())
    def promote(self, force: bool) -> None:
        building = self.model.building
        assert building is not None
        moved = self.run(self.world.promote(force=force))
        assert (moved.generation is not None) == (force or self.model.gate_is_open(building))
        if moved.generation is not None:
            self.model.generation(active=building, building=None, previous=self.model.active)

    @stateful.precondition(lambda self: self.model.previous)
    @stateful.rule(force=st.booleans(), back=st.booleans())
    def end_soak(self, force: bool, back: bool) -> None:
        previous = self.model.previous
        assert previous is not None
        registry, uid = self.database.registry, self.world.collection.uid
        epoch = self.run(self.world.epoch())
        if not back:
            assert self.run(registry.end_soak(uid, epoch=epoch)).generation is not None
            self.model.generation(active=self.model.active, building=self.model.building, previous=None)
            return
        moved = self.run(registry.roll_back(uid, epoch=epoch, force=force))
        assert (moved.generation is not None) == (force or self.model.gate_is_open(previous))
        if moved.generation is not None:
            self.model.generation(active=previous, building=self.model.building, previous=None)

    @stateful.rule()
    def heal(self) -> None:
        self.world.time.advance(61)
        self.run(self.world.healing.stuck(limit=1000))
        self.run(self.world.healing.bury(limit=1000))
        self.model.heal()

    @stateful.rule()
    def remove_and_collect(self) -> None:
        for name in self.model.documents:
            self.run(self.world.remove_all(name))
        for _ in range(3):
            self.run(self.world.collect())

    @stateful.invariant()
    def the_rows_are_the_models(self) -> None:
        if not hasattr(self, "world"):
            return
        uid = self.world.collection.uid
        snapshot = self.run(self.world.ledger.snapshot([uid]))
        seen = self.run(self.world.ledger.visible(uid, list(self.model.documents), snapshot=snapshot))
        assert not seen.moved
        assert set(seen.rows) == set(self.model.documents)
        for name, document in self.model.documents.items():
            row = seen.rows[name]
            assert (row.seq, row.src, row.fsrc, row.tomb) == (
                document.seq,
                document.src,
                document.fsrc,
                document.tomb,
            )
            assert (row.live, row.failed) == (document.live, document.failed)
            look = self.run(self.world.look(name))
            assert self.told(look.versions) == {n: state for n, state in document.versions.items() if state != "dead"}
            if row.live:
                shown = look.revision(row.live)
                assert shown is not None
                assert (shown.content and shown.content.text, shown.meta.metadata["team"]) == document.visible()
                assert self.highest_live.get(name, 0) <= row.live
                self.highest_live[name] = row.live

    def told(self, versions: tuple[Version, ...]) -> dict[tuple[int, str], str]:
        """The model's words for what stands."""
        names = {pipeline.pipe: name for name, pipeline in self.pipes.items()}
        words = {"live": "ready", "gone": "dead"}
        said = {(v.seq, names[v.pipe]): words.get(v.state, str(v.state)) for v in versions}
        return {name: state for name, state in said.items() if state != "dead"}

    @stateful.invariant()
    def nothing_waits_unseen_and_nothing_is_miscounted(self) -> None:
        if not hasattr(self, "world"):
            return
        assert self.troubles() == []


class FileLedgerMachine(LedgerMachine):
    url = "sqlite:///{folder}/ledger.db"


TestMemory = LedgerMachine.TestCase
TestMemory.settings = hypothesis.settings(max_examples=30, stateful_step_count=40, deadline=None)
TestSqliteFile = FileLedgerMachine.TestCase
TestSqliteFile.settings = hypothesis.settings(max_examples=3, stateful_step_count=20, deadline=None)
pytestmark = pytest.mark.timeout(900)
