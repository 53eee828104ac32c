"""From a document's text to a stored build: parse, split, embed what is new, and record the intent (R5).

Most hints are old when they are received: of a row that needs nothing any more, or of one that an earlier hint has in
work. `sift` finds them out by one read for all; it decides nothing that `work` would not.

Invariants: the build is stored before the intent names it, and the intent stands before any vector is written; a chunk
whose hash an earlier build of the document holds is never embedded again; only pipelines that the generation names run.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from bloomweaver.domain import blocks, builds, chunking, identity, models, steps
from bloomweaver.domain.documents import ChunkRow, DocumentKey, Pipeline, Revision, Version, VersionState
from bloomweaver.domain.errors import PermanentError, RetryableError, TransientError, WorkError
from bloomweaver.domain.events import Hint, Lane, Step
from bloomweaver.domain.identity import BuildId
from bloomweaver.domain.reasons import Reason
from bloomweaver.encoding import batcher
from bloomweaver.ports import blobs, clock, embedders, ledger, queues

UNAVAILABLE_RETRY_SECONDS = 30.0
REUSED_BUILDS = 3
COUNTED_RECEIPTS = queues.MAX_RECEIVES // 2
"""From so many receipts without an answer on, each further try is counted before it is made."""

Vector: TypeAlias = embedders.Vectors
Split: TypeAlias = Callable[[], Sequence[chunking.Chunk]]


@dataclass(frozen=True, slots=True)
class Extraction:
    """How text becomes chunks. revisions: of parser and splitter together, those that this process can run.

    offload: runs the splitting where it does not hold up others.
    """

    parse: Callable[[str, str], blocks.Extracted]
    revisions: frozenset[str]
    offload: Callable[[Split], Awaitable[Sequence[chunking.Chunk]]]


class EmbedderService:
    """Works the hints of one space's change queue. Safe to run twice with the same hint: the first intent wins."""

    def __init__(
        self,
        *,
        ledger: ledger.Ledger,
        queues: queues.Queues,
        blobs: blobs.Blobs,
        nonces: clock.Nonces,
        encoder: batcher.Batcher,
        extraction: Extraction,
        deployment: str,
    ) -> None:
        self._ledger = ledger
        self._queues = queues
        self._blobs = blobs
        self._nonces = nonces
        self._encoder = encoder
        self._spec = encoder.embedder.spec
        self._extraction = extraction
        self._deployment = deployment
        self._space = encoder.embedder.space
        self._busy: dict[tuple[str, str, int, str], asyncio.Event] = {}

    async def work(self, hints: Sequence[Hint]) -> list[queues.Trouble]:
        """Build what the rows behind the hints need in this space."""
        looks = await self._ledger.look([hint.key for hint in hints])
        troubles = []
        for hint, look in zip(hints, looks, strict=True):
            if look is None:
                continue  # R4: a hint for an unknown document is dropped
            for step in steps.next_steps(look.row, look.versions, look.generation):
                if step.lane is Lane.CHANGE and step.space == self._space:
                    try:
                        await self._build_once(hint, look, step)
                    except WorkError as error:
                        troubles.append(queues.Trouble(hint, step.seq, step.pipe, error))
        return troubles

    async def sift(self, hints: Sequence[Hint]) -> frozenset[Hint]:
        """Those that somebody here has to work: none of a row that needs nothing in this space, and one of a document.

        The one is not acked before its work, so the others may be; what lived through most receipts stays suspicious.
        """
        needed = await self._ledger.needed([hint.key for hint in hints])
        asked: dict[DocumentKey, Hint] = {}
        for hint, steps_ in zip(hints, needed, strict=True):
            if any(step.lane is Lane.CHANGE and step.space == self._space for step in steps_):
                known = asked.get(hint.key)
                if known is None or known.unanswered < hint.unanswered:
                    asked[hint.key] = hint
        return frozenset(asked.values())

    async def _build_once(self, hint: Hint, look: ledger.Look, step: Step) -> None:
        """The same build twice at once in one process would only be thrown away; the other delivery does it.

        It is waited for: this hint may be a newer receipt of the same message, and is not to be acked before its work.
        """
        job = (look.row.key.collection_uid, look.row.key.document_id, step.seq, step.pipe)
        if (twin := self._busy.get(job)) is not None:
            await twin.wait()
            return
        self._busy[job] = ended = asyncio.Event()
        try:
            await self._build(hint, look, step)
        finally:
            del self._busy[job]
            ended.set()

    async def _build(self, hint: Hint, look: ledger.Look, step: Step) -> None:
        pipeline = look.generation.pipeline(step.pipe)
        revision = look.revision(step.seq)
        if pipeline is None or revision is None or revision.content is None:
            return
        if pipeline.revision not in self._extraction.revisions:
            detail = f"No embedder of this release runs revision {pipeline.revision}."
            raise TransientError(Reason.PIPELINE_UNAVAILABLE, detail, retry_after_seconds=UNAVAILABLE_RETRY_SECONDS)
        if hint.unanswered >= COUNTED_RECEIPTS and not await self._may_read(look, step):
            return
        chunks = await self._chunks(revision, pipeline)
        known = await self._known_vectors(look.versions, pipeline, chunks)
        rows = await self._vectors(chunks, known, owner=hint.tenant)
        dimension = self._spec.dimension
        matrix = np.stack(rows).astype("<f4", copy=False).tobytes() if rows else b""
        build = builds.Build(dimension, tuple(chunk.hash for chunk in chunks), matrix)
        await self._record(hint, look, step, chunks=chunks, build=build, known=known)

    async def _may_read(self, look: ledger.Look, step: Step) -> bool:
        """Readers died of it, perhaps: count the try before it is made, for afterwards there may be nobody to do so.

        Counting on the row alone bounds how many die where readers that cannot run the pipeline renew the hint.
        """
        detail = "Workers crashed on this document again and again."
        if steps.counted_lately(look.row, now=look.at):
            raise RetryableError(Reason.READER_CRASHED, detail)  # the next try is not due yet
        key = look.row.key
        failure = ledger.Failure(key, step.seq, step.pipe, Reason.READER_CRASHED, detail, permanent=False)
        return await self._ledger.fail(failure) is not None

    async def _chunks(self, revision: Revision, pipeline: Pipeline) -> Sequence[chunking.Chunk]:
        content = revision.content
        assert content is not None
        text = content.text if content.blob is None else (await self._blobs.get(content.blob)).decode()
        room = min(pipeline.chunking.max_tokens, self._spec.room(models.Kind.DOCUMENT))
        overlap = min(pipeline.chunking.overlap_tokens, room // 2)

        def split() -> Sequence[chunking.Chunk]:
            extracted = self._extraction.parse(text or "", content.media_type)
            return chunking.split(
                extracted, self._encoder.embedder.tokenizer.encode, max_tokens=room, overlap_tokens=overlap
            )

        return await self._extraction.offload(split)

    async def _known_vectors(
        self, versions: Sequence[Version], pipeline: Pipeline, chunks: Sequence[chunking.Chunk]
    ) -> dict[str, Vector]:
        """Vectors of chunks that earlier builds of this document hold already, by chunk hash."""
        unusable = (VersionState.GONE, VersionState.FAILED)
        earlier = [v for v in versions if v.pipe == pipeline.pipe and v.state not in unusable and v.n_chunks]
        wanted = {chunk.hash for chunk in chunks}
        known: dict[str, Vector] = {}
        names = dict.fromkeys(v.build for v in sorted(earlier, key=lambda v: v.seq, reverse=True))
        for name in list(names)[:REUSED_BUILDS]:
            try:
                build = builds.decode(await self._blobs.get(self._build_key(pipeline.pipe, versions[0].key, name)))
            except RetryableError:
                continue  # collected or damaged: its chunks are embedded again
            for index, chunk_hash in enumerate(build.hashes):
                if chunk_hash in wanted and chunk_hash not in known:
                    known[chunk_hash] = np.frombuffer(build.row(index), dtype="<f4")
            if len(known) == len(wanted):
                break
        return known

    async def _vectors(self, chunks: Sequence[chunking.Chunk], known: dict[str, Vector], *, owner: str) -> list[Vector]:
        fresh = {chunk.hash: chunk for chunk in chunks if chunk.hash not in known}
        passages = [embedders.Passage(chunk.text, chunk.token_ids) for chunk in fresh.values()]
        computed: dict[str, Vector] = {}
        if passages:
            encoded = await self._encoder.encode(passages, kind=models.Kind.DOCUMENT, owner=owner)
            if encoded.failures:
                raise encoded.failures[min(encoded.failures)]
            if not np.isfinite(encoded.vectors).all():
                raise PermanentError(Reason.INVALID_VECTOR, "The model gave no number for a chunk of this text.")
            computed = dict(zip(fresh, encoded.vectors, strict=True))
        return [known[c.hash] if c.hash in known else computed[c.hash] for c in chunks]

    async def _record(
        self,
        hint: Hint,
        look: ledger.Look,
        step: Step,
        *,
        chunks: Sequence[chunking.Chunk],
        build: builds.Build,
        known: dict[str, Vector],
    ) -> None:
        """Build, then intent, then tell the writer; a build that lost the race is thrown away."""
        name = BuildId(self._nonces.nonce())
        key = self._build_key(step.pipe, look.row.key, name)
        await self._blobs.put(key, builds.encode(build))
        revision = look.revision(step.seq)
        reused = sum(len(chunk.token_ids) for chunk in chunks if chunk.hash in known)
        intent = ledger.Intent(
            key=look.row.key,
            seq=step.seq,
            pipe=step.pipe,
            build=name,
            content_hash=revision.content.hash if revision and revision.content else "",
            n_chunks=len(chunks),
            chunks=tuple(chunk_row(chunk) for chunk in chunks),
            tokens_embedded=sum(len(chunk.token_ids) for chunk in chunks) - reused,
            tokens_reused=reused,
            reason=None if chunks else Reason.NO_TEXT,
        )
        (intended,) = await self._ledger.intend([intent])
        if not intended.won:
            await self._blobs.delete([key])
        if intended.version is not None and intended.version.state is VersionState.INTENT:
            lane = Lane.UPDATE if look.row.live else Lane.CREATE
            await queues.tell(self._queues, queues.hints_of(hint, [Step(lane, step.seq, step.pipe)]))

    def _build_key(self, pipe: str, key: DocumentKey, build: str) -> str:
        return identity.build_blob_key(self._deployment, key.collection_uid, pipe=pipe, build=build)


def chunk_row(chunk: chunking.Chunk) -> ChunkRow:
    """What the ledger keeps of a chunk."""
    return ChunkRow(
        chunk.index, str(chunk.kind), chunk.hash, chunk.text, chunk.start, chunk.end, chunk.heading, chunk.page
    )
