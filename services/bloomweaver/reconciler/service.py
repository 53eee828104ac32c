"""Level-triggered healing: compares what is with what should be, and hints; it never decides a document's fate (R12).

Every round is safe to run twice and by two replicas at once: each step finds what is due on the ledger's clock, and
what it does is idempotent. A step that a dependency refuses is tried again in the next round; the others go on.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from bloomweaver.domain import identity
from bloomweaver.domain.documents import Generation
from bloomweaver.domain.errors import WorkError
from bloomweaver.domain.events import Hint, Lane
from bloomweaver.domain.identity import CollectionUid
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import blobs, clock, healing, ledger, queues, registry, vectors
from bloomweaver.reconciler import sweeping


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how much. sweep_seconds: between sweeps of everything. page: rows a step looks at in one call.

    first_sweep_seconds: from the start to the first sweep, so that a process that seldom lives a day sweeps too.
    erase_again_seconds: between looks at a deleted collection of which nothing is left, for what is written late.
    """

    round_seconds: float = 5.0
    sweep_seconds: float = 86_400.0
    first_sweep_seconds: float = 1800.0
    erase_again_seconds: float = 3600.0
    page: int = 500
    pages_per_round: int = 20


@dataclass(slots=True)
class Report:
    """What a round did, by step; `refused` names the steps that a dependency refused."""

    done: dict[str, int] = field(default_factory=dict)
    refused: dict[str, Reason] = field(default_factory=dict)


class ReconcilerService:
    """`round` is one pass. Sweeps run when they are due, or when `sweep` is called."""

    def __init__(
        self,
        *,
        ledger: ledger.Ledger,
        healing: healing.Healing,
        registry: registry.Registry,
        queues: queues.Queues,
        blobs: blobs.Blobs,
        vectors: vectors.Vectors,
        clock: clock.Clock,
        deployment: str,
        pace: Pace,
    ) -> None:
        self._ledger = ledger
        self._healing = healing
        self._registry = registry
        self._queues = queues
        self._blobs = blobs
        self._vectors = vectors
        self._clock = clock
        self._deployment = deployment
        self._pace = pace
        self._sweep_at: float | None = None
        self._erased_at: dict[CollectionUid, float] = {}
        self._generations_now: list[Generation] | None = None
        self.sweeper = sweeping.Sweeper(
            healing=healing,
            registry=registry,
            blobs=blobs,
            vectors=vectors,
            deployment=deployment,
        )

    async def round(self) -> Report:
        """Every step once."""
        report = Report()
        self._generations_now = None
        steps: tuple[tuple[str, Callable[[], Awaitable[int]]], ...] = (
            ("hinted", self._hint_stuck),
            ("buried", self._bury),
            ("removals", self._hint_removals),
            ("dead_letters", self._drain_dead_letters),
            ("collected", self._collect),
            ("soaks_ended", self._end_soaks),
            ("erased", self._erase),
            ("trimmed", self._trim),
            ("swept", self._sweep_if_due),
        )
        for name, step in steps:
            try:
                report.done[name] = await step()
            except WorkError as error:
                report.refused[name] = error.reason
        return report

    async def _hint_stuck(self) -> int:
        """Documents that are not where they should be and were not hinted lately; at once where their lane is empty."""
        depths = await self._queues.depths()
        empty = frozenset(name for name, depth in depths.items() if not depth.total)
        known = frozenset(depths)
        lanes = {queues.queue_name(lane) for lane in (Lane.CREATE, Lane.UPDATE, Lane.DELETE)}
        lanes |= {queues.queue_name(Lane.CHANGE, space) for space in await self._spaces()}
        return await self._hint_all(
            lambda: self._healing.stuck(limit=self._pace.page, empty_lanes=empty | (lanes - known))
        )

    async def _spaces(self) -> set[str]:
        spaces: set[str] = set()
        for generation in await self._generations():
            spaces.update(pipeline.space for pipeline in generation.pipelines)
        return spaces

    async def _generations(self) -> list[Generation]:
        """Of all collections, read once in a round: there may be thousands, and a round comes every few seconds."""
        if self._generations_now is None:
            uids = [collection.uid for collection in await self._registry.collections()]
            found = (await self._ledger.snapshot(uids)).generations if uids else {}
            self._generations_now = list(found.values())
        return self._generations_now

    async def _hint_removals(self) -> int:
        return await self._hint_all(lambda: self._healing.removals(limit=self._pace.page))

    async def _hint_all(self, find: Callable[[], Awaitable[list[healing.Stuck]]]) -> int:
        count = 0
        for _ in range(self._pace.pages_per_round):
            page = await find()
            await queues.tell(self._queues, _hints(page))
            count += len(page)
            if len(page) < self._pace.page:
                break
        return count

    async def _bury(self) -> int:
        return await self._healing.bury(limit=self._pace.page * self._pace.pages_per_round)

    async def _drain_dead_letters(self) -> int:
        """Hints that were received too often: somebody crashes on them. The row learns it, the hint goes."""
        count = 0
        for queue in await self._queues.depths():
            for delivery in await self._queues.dead(queue, limit=self._pace.page):
                await self._fail_reader(delivery.hint)
                await self._queues.ack(queue, [delivery])
                count += 1
        return count

    async def _fail_reader(self, hint: Hint) -> None:
        """Only if the row still wants that seq and nothing else is due to happen to it."""
        (look,) = await self._ledger.look([hint.key])
        if look is None or look.row.seq != hint.seq or look.row.tomb or look.row.live == hint.seq:
            return
        if look.row.failed or (look.row.next_try is not None and look.row.next_try > look.at):
            return
        detail = "Workers crashed or gave up on this document more than 10 times."
        pipe = hint.pipe or look.generation.active.pipe
        await self._ledger.fail(
            ledger.Failure(look.row.key, hint.seq, pipe, Reason.READER_CRASHED, detail, permanent=True)
        )

    async def _collect(self) -> int:
        """R16: blobs first, then the rows that name them, so that a crash in between leaves nothing unknown."""
        count = 0
        for _ in range(self._pace.pages_per_round):
            garbage = await self._healing.garbage(limit=self._pace.page)
            if not garbage:
                break
            await self._blobs.delete([blob for item in garbage for blob in item.blobs])
            await self._healing.forget(garbage)
            count += len(garbage)
            if len(garbage) < self._pace.page:
                break
        return count

    async def _end_soaks(self) -> int:
        """R15: the previous pipeline is kept current until the soak is over."""
        count = 0
        soaking = [generation for generation in await self._generations() if generation.previous_until is not None]
        now = await self._healing.now() if soaking else 0.0
        for generation in soaking:
            if now >= (generation.previous_until or 0.0):
                moved = await self._registry.end_soak(generation.collection_uid, epoch=generation.epoch)
                count += moved.generation is not None
        return count

    async def _erase(self) -> int:
        """What a deleted collection left: namespaces and blobs first, the rows last; then what came late."""
        count = 0
        found = await self._healing.retired()
        self._erased_at = {each.uid: self._erased_at[each.uid] for each in found if each.uid in self._erased_at}
        now = self._clock.monotonic()
        for retired in found:
            erased_at = self._erased_at.get(retired.uid)
            if erased_at is not None and now < erased_at + self._pace.erase_again_seconds:
                continue
            for pipe in retired.pipes:
                await self._vectors.drop(identity.namespace_of(self._deployment, retired.uid, pipe))
            await self._erase_blobs(retired.uid)
            if await self._healing.erase(retired.uid, limit=self._pace.page * self._pace.pages_per_round):
                count += erased_at is None
                self._erased_at[retired.uid] = now
        return count

    async def _erase_blobs(self, uid: CollectionUid) -> None:
        page: list[str] = []
        async for blob in self._blobs.list(identity.blob_prefix(self._deployment, uid)):
            page.append(blob.key)
            if len(page) >= self._pace.page:
                await self._blobs.delete(page)
                page = []
        if page:
            await self._blobs.delete(page)

    async def _trim(self) -> int:
        return await self._healing.trim(limit=self._pace.page * self._pace.pages_per_round)

    async def _sweep_if_due(self) -> int:
        now = self._clock.monotonic()
        if self._sweep_at is None:
            self._sweep_at = now + min(self._pace.first_sweep_seconds, self._pace.sweep_seconds)
        if now < self._sweep_at:
            return 0
        self._sweep_at = now + self._pace.sweep_seconds
        return (await self.sweeper.sweep(force=False)).removed


def _hints(page: Iterable[healing.Stuck]) -> list[tuple[str, Hint]]:
    told = []
    for stuck in page:
        look = Hint(stuck.tenant, stuck.key.collection_uid, stuck.key.document_id, stuck.seq)
        told.extend(queues.hints_of(look, stuck.steps))
    return told
