"""A small world for the suites of ledger, healing, registry and history: one database, one collection, short verbs.

await world.put("text")    await world.index(seq)    await world.delete()    await world.row()
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from bloomweaver.domain import identity
from bloomweaver.domain.documents import (
    Chunking,
    ChunkRow,
    Collection,
    Content,
    DocumentKey,
    Meta,
    Ordering,
    Pipeline,
    Row,
    Version,
)
from bloomweaver.domain.events import Accepted, Change, EventIdentity, Expect, MetaPatch, Rejected
from bloomweaver.domain.identity import BuildId, DocumentId, Pipe, TenantId
from bloomweaver.ports import healing as healing_ports
from bloomweaver.ports import history, registry
from bloomweaver.ports import ledger as ports
from bloomweaver.testing import clocks

TENANT = TenantId("acme")
DOCUMENT = "leave-policy"


def pipeline(name: str = "a") -> Pipeline:
    """A pipeline; different names have different pipes and spaces."""
    space = f"space-{name}"
    pipe = identity.pipe_of(space=space, max_tokens=254, overlap_tokens=0, revision="1", epoch=1)
    return Pipeline(pipe, space, "all-minilm-l6-v2", Chunking(254), "1")


A, B = pipeline("a"), pipeline("b")


def content(text: str, *, blob: str | None = None) -> Content:
    """Text, inline or under a blob's name."""
    data = text.encode()
    hashed = identity.content_hash("text/plain", data)
    return Content("text/plain", hashed, len(data), text=None if blob else text, blob=blob)


def chunks(count: int, text: str = "chunk") -> tuple[ChunkRow, ...]:
    """Chunk rows with every field."""
    return tuple(
        ChunkRow(
            index, "text", f"hash-{index}", f"{text} {index} ä😀", index * 10, index * 10 + 9, ("Top", "Sub"), index
        )
        for index in range(count)
    )


class Database(Protocol):
    """The four ports that one database carries."""

    @property
    def ledger(self) -> ports.Ledger: ...
    @property
    def healing(self) -> healing_ports.Healing: ...
    @property
    def registry(self) -> registry.Registry: ...
    @property
    def history(self) -> history.History: ...


@dataclass(slots=True)
class World:
    """One collection and what a test does in it."""

    database: Database
    time: clocks.ManualClock
    collection: Collection
    events: int = field(default=0)

    @property
    def ledger(self) -> ports.Ledger:
        return self.database.ledger

    @property
    def healing(self) -> healing_ports.Healing:
        return self.database.healing

    def key(self, document: str = DOCUMENT) -> DocumentKey:
        return DocumentKey(self.collection.uid, DocumentId(document))

    def change(
        self,
        text: str | None,
        document: str = DOCUMENT,
        *,
        version: int | None = None,
        event_id: str | None = None,
        meta: Meta | None = None,
        blob: str | None = None,
        patch: MetaPatch | None = None,
        expect: Expect | None = None,
        batch_id: str | None = None,
    ) -> Change:
        """Text and no patch replaces, a patch edits, neither deletes."""
        self.events += 1
        event = event_id or f"evt-{self.events}"
        fingerprint = identity.fingerprint(document, text, version)
        return Change(
            self.collection.tenant,
            self.collection.name,
            DocumentId(document),
            EventIdentity("api", event, fingerprint),
            content=None if text is None else content(text, blob=blob),
            meta=None if text is None else meta or Meta(title="T", metadata={"team": "hr", "tags": ("a", "b")}),
            patch=patch,
            source_version=version,
            expect=expect,
            batch_id=batch_id,
            occurred_at="2026-01-01T00:00:00Z",
            origin="api",
            actor="key:test",
            request_id="req-1",
        )

    async def accept(self, change: Change) -> Accepted:
        """The answer to a change that is not refused."""
        (answer,) = await self.ledger.accept([change])
        assert isinstance(answer, Accepted), answer
        return answer

    async def refused(self, change: Change) -> str:
        """The reason of a change that is."""
        (answer,) = await self.ledger.accept([change])
        assert isinstance(answer, Rejected), answer
        return answer.refusal.reason

    async def put(
        self, text: str = "text", document: str = DOCUMENT, *, version: int | None = None, blob: str | None = None
    ) -> int:
        """Say `text`; the seq."""
        return (await self.accept(self.change(text, document, version=version, blob=blob))).seq

    async def delete(self, document: str = DOCUMENT, *, version: int | None = None) -> Accepted:
        return await self.accept(self.change(None, document, version=version))

    async def patch(self, document: str = DOCUMENT, **fields: str) -> Accepted:
        return await self.accept(self.change(None, document, patch=MetaPatch(metadata=fields)))

    def intent(self, seq: int, document: str = DOCUMENT, *, pipe: Pipe = A.pipe, count: int = 2) -> ports.Intent:
        """To write a new build of `count` chunks."""
        build = BuildId(f"build-{document}-{seq}-{pipe}")
        made = chunks(count)
        return ports.Intent(self.key(document), seq, pipe, build, "", count, made, tokens_embedded=7)

    async def intend(
        self, seq: int, document: str = DOCUMENT, *, pipe: Pipe = A.pipe, count: int = 2
    ) -> ports.Intended:
        """As an embedder does: with the content's hash."""
        look = await self.look(document)
        sent = look.revision(seq)
        hashed = sent.content.hash if sent is not None and sent.content is not None else ""
        intent = replace(self.intent(seq, document, pipe=pipe, count=count), content_hash=hashed)
        (intended,) = await self.ledger.intend([intent])
        return intended

    async def settle(
        self,
        seq: int,
        document: str = DOCUMENT,
        *,
        pipe: Pipe = A.pipe,
        epoch: int | None = None,
        position: int | None = None,
    ) -> ports.Settled:
        """As a writer does: with the generation's epoch."""
        if epoch is None:
            epoch = await self.epoch()
        (settled,) = await self.ledger.settle([ports.Settlement(self.key(document), seq, pipe, epoch, position)])
        return settled

    async def index(self, seq: int, document: str = DOCUMENT, *, pipe: Pipe = A.pipe, count: int = 2) -> ports.Settled:
        """Intend and settle."""
        await self.intend(seq, document, pipe=pipe, count=count)
        return await self.settle(seq, document, pipe=pipe)

    async def shown(self, text: str = "text", document: str = DOCUMENT) -> int:
        """A document that is searchable."""
        seq = await self.put(text, document)
        assert (await self.index(seq, document)).flipped
        return seq

    async def look(self, document: str = DOCUMENT) -> ports.Look:
        (look,) = await self.ledger.look([self.key(document)])
        assert look is not None
        return look

    async def row(self, document: str = DOCUMENT) -> Row:
        (row,) = await self.ledger.rows([self.key(document)])
        assert row is not None
        return row

    async def versions(self, document: str = DOCUMENT) -> dict[tuple[int, str], Version]:
        """By seq and pipe."""
        return {(v.seq, v.pipe): v for v in (await self.look(document)).versions}

    async def states(self, document: str = DOCUMENT) -> dict[int, str]:
        """States of the versions in pipeline A, by seq."""
        return {seq: str(v.state) for (seq, pipe), v in (await self.versions(document)).items() if pipe == A.pipe}

    async def remove_all(self, document: str = DOCUMENT) -> None:
        """Vectors of dead versions are removed, twice."""
        for _ in range(2):
            dead = [v for v in (await self.look(document)).versions if v.state == "dead"]
            await self.ledger.removed(dead)
            self.time.advance(700)

    async def epoch(self) -> int:
        generation = await self.database.registry.generation(self.collection.uid)
        assert generation is not None
        return generation.epoch

    async def build(self, wanted: Pipeline | None = B) -> None:
        """A re-index begins, or is cancelled."""
        moved = await self.database.registry.build(self.collection.uid, epoch=await self.epoch(), pipeline=wanted)
        assert moved.generation is not None

    async def promote(self, *, force: bool = False) -> registry.Moved:
        uid = self.collection.uid
        return await self.database.registry.promote(uid, epoch=await self.epoch(), force=force, soak_seconds=3600.0)

    async def collect(self) -> list[healing_ports.Garbage]:
        """One round of garbage collection; what was dropped."""
        garbage = await self.healing.garbage(limit=1000)
        await self.healing.forget(garbage)
        return garbage


async def make(
    database: Database, time: clocks.ManualClock, *, ordering: Ordering = Ordering.ARRIVAL, name: str = "handbook"
) -> World:
    """A database with one collection, whose active pipeline is A."""
    await database.registry.deployment()
    collection, _ = await database.registry.create_collection(
        TENANT, name, ordering=ordering, description="", pipeline=A
    )
    return World(database, time, collection)


def seqs(items: Sequence[healing_ports.Garbage]) -> list[int]:
    """The revisions among garbage."""
    return [item.revision for item in items if item.revision is not None]
