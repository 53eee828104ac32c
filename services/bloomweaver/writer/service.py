"""From a stored build to searchable vectors, and from dead versions to none: one service for three lanes.

Writing: upsert every chunk under the version's own ids (R6), see them queryable (R7), then let the ledger flip (R8).
What is shown stays untouched. Deleting: only vectors of versions that are dead past grace, gone, or absent (R9, R13).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bloomweaver.domain import builds, identity, steps
from bloomweaver.domain.documents import DocumentKey, Version, VersionState
from bloomweaver.domain.errors import PermanentError, TransientError, WorkError
from bloomweaver.domain.events import Hint, Lane, Step
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import blobs, clock, ledger, queues, vectors

WRITING = (Lane.CREATE, Lane.UPDATE)
CONFIRMING_RETRY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Confirming:
    """How the writer waits until the store shows what was written, before it gives the hint back."""

    timeout_seconds: float = 10.0
    first_pause_seconds: float = 0.02
    longest_pause_seconds: float = 0.5


@dataclass(frozen=True, slots=True)
class Job:
    """One version to write. records: all its vectors."""

    hint: Hint
    look: ledger.Look
    version: Version
    namespace: str
    records: tuple[vectors.Record, ...]


class WriterService:
    """Works the hints of one lane. on_flip is told collection and seconds from accept to shown of each flip."""

    def __init__(
        self,
        *,
        ledger: ledger.Ledger,
        queues: queues.Queues,
        blobs: blobs.Blobs,
        vectors: vectors.Vectors,
        clock: clock.Clock,
        deployment: str,
        confirming: Confirming,
        on_flip: Callable[[str, float], None],
    ) -> None:
        self._ledger = ledger
        self._queues = queues
        self._blobs = blobs
        self._vectors = vectors
        self._clock = clock
        self._deployment = deployment
        self._confirming = confirming
        self._on_flip = on_flip

    async def work(self, hints: Sequence[Hint]) -> list[queues.Trouble]:
        """Do for each document what its row needs of a writer: write, or remove."""
        distinct = list({(hint.key, hint.pipe): hint for hint in hints}.values())
        looks = await self._ledger.look([hint.key for hint in distinct])
        troubles: list[queues.Trouble] = []
        jobs: dict[tuple[DocumentKey, int, str], Job] = {}
        for hint, look in zip(distinct, looks, strict=True):
            if look is None:
                await self._remove_strays(hint)
                continue
            await self._remove(hint, look)
            for step in steps.next_steps(look.row, look.versions, look.generation):
                if step.lane in WRITING:
                    try:
                        job = await self._job(hint, look, step)
                    except WorkError as error:
                        troubles.append(queues.Trouble(hint, step.seq, step.pipe, error))
                        continue
                    if job is not None:
                        jobs[look.row.key, step.seq, step.pipe] = job
        troubles.extend(await self._write(list(jobs.values())))
        return troubles

    async def _job(self, hint: Hint, look: ledger.Look, step: Step) -> Job | None:
        version = steps.find(look.versions, step.seq, step.pipe)
        if version is None:
            version = await self._intend_reuse(hint, look, step)
        revision = look.revision(step.seq)
        if version is None or revision is None or version.state is not VersionState.INTENT:
            return None
        key = look.row.key
        build = await self._load(key, version)
        records = vectors.records_of(version, build, metadata=revision.meta.metadata)
        namespace = identity.namespace_of(self._deployment, key.collection_uid, step.pipe)
        return Job(hint, look, version, namespace, records)

    async def _load(self, key: DocumentKey, version: Version) -> builds.Build:
        if not version.n_chunks:
            return builds.Build(0, (), b"")
        name = identity.build_blob_key(self._deployment, key.collection_uid, pipe=version.pipe, build=version.build)
        return builds.decode(await self._blobs.get(name))

    async def _intend_reuse(self, hint: Hint, look: ledger.Look, step: Step) -> Version | None:
        """A new version of content that was built before names the same build: nothing is embedded."""
        content = steps.content_of(look.row, look.versions, step.seq)
        base = steps.reusable(look.versions, step.pipe, content)
        if base is None:
            return None
        intent = ledger.Intent(
            key=look.row.key,
            seq=step.seq,
            pipe=step.pipe,
            build=base.build,
            content_hash=content,
            n_chunks=base.n_chunks,
            chunks=None,
            tokens_reused=base.tokens_embedded + base.tokens_reused,
            reason=None if base.n_chunks else Reason.NO_TEXT,
        )
        (intended,) = await self._ledger.intend([intent])
        if intended.version is None:
            # The build was collected meanwhile, or the row moved on: whoever looks next sees which.
            (now,) = await self._ledger.look([look.row.key])
            if now is not None:
                again = steps.next_steps(now.row, now.versions, now.generation)
                await queues.tell(self._queues, queues.hints_of(hint, again))
        return intended.version

    async def _write(self, jobs: Sequence[Job]) -> list[queues.Trouble]:
        """Upsert, confirm, settle: all jobs of a namespace together, and one by one where together they are refused."""
        by_namespace: dict[str, list[Job]] = {}
        for job in jobs:
            by_namespace.setdefault(job.namespace, []).append(job)
        troubles: list[queues.Trouble] = []
        settlements: list[tuple[Job, ledger.Settlement]] = []
        for namespace, batch in by_namespace.items():
            try:
                position = await self._upsert(namespace, batch)
                await self._confirm(namespace, batch, position)
            except PermanentError as error:
                troubles.extend(await self._bisect(batch, error))
            except WorkError as error:
                troubles.extend(_trouble(job, error) for job in batch)
            else:
                settlements.extend((job, _settlement(job, position)) for job in batch)
        await self._settle(settlements)
        return troubles

    async def _bisect(self, batch: Sequence[Job], error: PermanentError) -> list[queues.Trouble]:
        if len(batch) == 1:
            return [_trouble(batch[0], error)]
        middle = len(batch) // 2
        return await self._write(batch[:middle]) + await self._write(batch[middle:])

    async def _upsert(self, namespace: str, batch: Sequence[Job]) -> int | None:
        records = [record for job in batch for record in job.records]
        size = self._vectors.capabilities.max_batch
        position: int | None = None
        for start in range(0, len(records), size):
            written = await self._vectors.upsert(namespace, records[start : start + size])
            if written is not None:
                position = max(position or 0, written)
        return position

    async def _confirm(self, namespace: str, batch: Sequence[Job], position: int | None) -> None:
        """R7: one probe serves all of a namespace. Without positions every id has to be seen twice in a row."""
        probes = [record for job in batch for record in job.records]
        if not probes:
            return
        deadline = self._clock.monotonic() + self._confirming.timeout_seconds
        pause = self._confirming.first_pause_seconds
        seen_in_a_row = 0
        while True:
            if await self._sees(namespace, probes, position):
                seen_in_a_row += 1
                if position is not None or seen_in_a_row == 2:
                    return
            else:
                seen_in_a_row = 0
            if self._clock.monotonic() >= deadline:
                raise TransientError(
                    Reason.WAITING_FOR_STORE,
                    "The vector store does not show yet what was written.",
                    retry_after_seconds=CONFIRMING_RETRY_SECONDS,
                )
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._confirming.longest_pause_seconds)

    async def _sees(self, namespace: str, probes: Sequence[vectors.Record], position: int | None) -> bool:
        if position is not None:
            seen = (await self._vectors.query(namespace, probes[0].vector, k=1)).position
            return seen is not None and seen >= position
        ids = [record.id for record in probes]
        size = self._vectors.capabilities.max_batch
        for start in range(0, len(ids), size):
            page = ids[start : start + size]
            if len(await self._vectors.present(namespace, page)) < len(page):
                return False
        return True

    async def _settle(self, settlements: Sequence[tuple[Job, ledger.Settlement]]) -> None:
        if not settlements:
            return
        settled = await self._ledger.settle([settlement for _, settlement in settlements])
        onward = []
        for (job, _), result in zip(settlements, settled, strict=True):
            if result.waited_seconds is not None:
                self._on_flip(job.look.collection.name, result.waited_seconds)
            onward.extend(queues.hints_of(job.hint, result.steps))
        await queues.tell(self._queues, onward)

    async def _remove(self, hint: Hint, look: ledger.Look) -> None:
        """Delete the vectors of dead versions that are due, and again those of the version that a stray hit named."""
        due = [v for v in look.versions if steps.removal_due(v, look.row, now=look.at)]
        for version in due:
            ids = identity.vector_ids(hint.document_id, version.seq, version.pipe, version.n_chunks)
            await self._delete(self._namespace(hint, version.pipe), ids)
        if due:
            await self._ledger.removed(due)
        if hint.pipe is not None:
            named = steps.find(look.versions, hint.seq, hint.pipe)
            if (named is None and _never_will_be(look, hint.seq)) or (
                named is not None and named.state is VersionState.GONE
            ):
                await self._remove_strays(hint)

    async def _remove_strays(self, hint: Hint) -> None:
        """R13: vectors that landed after their version was gone, or whose document is; the prefix is theirs alone."""
        if hint.pipe is None or not self._vectors.capabilities.list_ids:
            return
        namespace = self._namespace(hint, hint.pipe)
        prefix = identity.vector_prefix(hint.document_id, hint.seq, hint.pipe)
        async for page in self._vectors.ids(namespace, prefix=prefix):
            await self._delete(namespace, page)

    async def _delete(self, namespace: str, ids: Sequence[str]) -> None:
        size = self._vectors.capabilities.max_batch
        for start in range(0, len(ids), size):
            await self._vectors.delete(namespace, ids[start : start + size])

    def _namespace(self, hint: Hint, pipe: str) -> str:
        return identity.namespace_of(self._deployment, hint.collection_uid, pipe)


def _never_will_be(look: ledger.Look, seq: int) -> bool:
    """Whether no pipeline can come to want that seq any more: it is past, not shown, and nowhere being built."""
    over = (VersionState.DEAD, VersionState.GONE)
    return seq < look.row.seq and seq != look.row.live and all(v.state in over for v in look.versions if v.seq == seq)


def _settlement(job: Job, position: int | None) -> ledger.Settlement:
    return ledger.Settlement(
        key=job.look.row.key,
        seq=job.version.seq,
        pipe=job.version.pipe,
        epoch=job.look.generation.epoch,
        position=position,
    )


def _trouble(job: Job, error: WorkError) -> queues.Trouble:
    return queues.Trouble(job.hint, job.version.seq, job.version.pipe, error)
