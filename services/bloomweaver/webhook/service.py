"""Accepting changes: decide, then tell (R1).

A change is checked, its large text stored as a blob, decided by the ledger in one durable transaction, and only then
hinted to a queue. Hints are sent behind the answer: what a crash leaves unsent, the reconciler sends.
Invariant: what is refused leaves nothing behind; what is answered with an outcome is in the ledger.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from bloomweaver.domain import events, identity
from bloomweaver.domain.documents import Content, DocumentKey, Meta, Row, State
from bloomweaver.domain.errors import Refusal, TransientError
from bloomweaver.domain.events import Accepted, Change, ChangeType, EventIdentity, Expect, Hint, MetaPatch, Rejected
from bloomweaver.domain.identity import CollectionUid, DocumentId, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import blobs, clock, ledger, queues, registry

MAX_WAITING_HINTS = 100_000
FIRST_POLL_SECONDS = 0.02
LONGEST_POLL_SECONDS = 0.25
BREATH_BYTES = 1024 * 1024
"""So much text of one call is checked before others get a turn."""

_Claim = tuple[str, str, str, str]
"""(tenant, collection, source, event id)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a change may be. event_wait_seconds: how long a duplicate waits for its twin that is being decided."""

    max_text_bytes: int = 10 * 1024 * 1024
    media_types: frozenset[str] = frozenset({"text/plain", "text/markdown", "text/html"})
    event_wait_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Submission:
    """A change as it came over the wire, of the right shape but not yet checked.

    event_id: None makes one. text and patch are None for a delete. media_type without parameters, in lower case.
    """

    collection: str
    document_id: str
    change_type: ChangeType
    text: str | None = None
    media_type: str = "text/plain"
    meta: Meta = field(default_factory=Meta)
    patch: MetaPatch | None = None
    source_version: int | None = None
    expect: Expect | None = None
    event_id: str | None = None
    source: str = ""
    batch_id: str | None = None
    occurred_at: str | None = None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends: the tenant from the credential alone."""

    tenant: TenantId
    actor: str
    request_id: str
    traceparent: str | None = None


class WebhookService:
    """Accepts changes. `run` sends the hints behind the answers until cancelled; it has to run beside `accept`.

    told: called for every change that leaves work; must not wait.
    """

    def __init__(
        self,
        *,
        ledger: ledger.Ledger,
        registry: registry.Registry,
        queues: queues.Queues,
        blobs: blobs.Blobs,
        clock: clock.Clock,
        nonces: clock.Nonces,
        deployment: str,
        limits: Limits,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        self._told = told
        self._ledger = ledger
        self._registry = registry
        self._queues = queues
        self._blobs = blobs
        self._clock = clock
        self._nonces = nonces
        self._deployment = deployment
        self._limits = limits
        self._deciding: dict[_Claim, asyncio.Event | None] = {}
        self._outbox: list[tuple[str, Hint]] = []
        self._posted = asyncio.Event()

    async def accept(self, submissions: Sequence[Submission], *, caller: Caller) -> list[Accepted | Rejected]:
        """Decide changes in the order sent, each by itself: a bad one never stops the others.

        Raises TransientError where the ledger or the blob store is away; then nothing is known of any of them.
        """
        results: list[Accepted | Rejected | None] = [None] * len(submissions)
        changes: list[tuple[int, Change]] = []
        claims: list[_Claim] = []
        checked_bytes = 0
        try:
            for index, submission in enumerate(submissions):
                if checked_bytes > BREATH_BYTES:
                    await asyncio.sleep(0)
                    checked_bytes = 0
                try:
                    change = self._checked(submission, caller=caller)
                    checked_bytes += change.content.size_bytes if change.content else 0
                    await self._claim(change, claims)
                    changes.append((index, change))
                except Refusal as refusal:
                    results[index] = Rejected(refusal)
            decided = await self._decide([change for _, change in changes], traceparent=caller.traceparent)
            for (index, _), result in zip(changes, decided, strict=True):
                results[index] = result
        finally:
            for claim in claims:
                if (awaited := self._deciding.pop(claim)) is not None:
                    awaited.set()
        return [result for result in results if result is not None]

    async def retry(self, key: DocumentKey, *, caller: Caller) -> Accepted | None:
        """Try a failed document again now."""
        accepted = await self._ledger.retry(key, actor=caller.actor, request_id=caller.request_id)
        if accepted is not None:
            self._post(accepted, tenant=caller.tenant, document_id=key.document_id, traceparent=caller.traceparent)
        return accepted

    async def wait(self, wanted: Sequence[tuple[DocumentKey, int]], *, timeout_seconds: float) -> list[Row | None]:
        """Wait until each document shows at least its seq, or can no longer: deleted, failed, or gone.

        Gives the rows as they are then, also when time ran out.
        """
        deadline = self._clock.monotonic() + timeout_seconds
        pause = FIRST_POLL_SECONDS
        while True:
            rows = await self._ledger.rows([key for key, _ in wanted])
            left = deadline - self._clock.monotonic()
            if left <= 0 or all(ended(row, seq) for row, (_, seq) in zip(rows, wanted, strict=True)):
                return rows
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_POLL_SECONDS)

    async def text(self, content: Content) -> str:
        """The text of a revision as it was sent."""
        if content.blob is None:
            return content.text or ""
        return (await self._blobs.get(content.blob)).decode()

    async def run(self) -> None:
        """Send the hints of decided changes, many at once. What cannot be sent is left to the reconciler (R12)."""
        while True:
            await self._posted.wait()
            await self.flush()

    async def flush(self) -> None:
        """Send what waits to be sent; also done at the end of an orderly shutdown."""
        self._posted.clear()
        batch, self._outbox = self._outbox, []
        try:
            await queues.tell(self._queues, batch)
        except TransientError:
            # The rows say what is to be done; the reconciler hints them again.
            return

    async def _decide(self, changes: Sequence[Change], *, traceparent: str | None) -> list[Accepted | Rejected]:
        if not changes:
            return []
        stored = [await self._with_blob(change) if _is_large(change) else change for change in changes]
        results = await self._ledger.accept(stored)
        spare = []
        for change, result in zip(stored, results, strict=True):
            if isinstance(result, Accepted):
                self._post(result, tenant=change.tenant, document_id=change.document_id, traceparent=traceparent)
            kept = isinstance(result, Accepted) and result.keeps_blob
            if change.content is not None and change.content.blob is not None and not kept:
                spare.append(change.content.blob)
        if spare:
            await self._drop(spare)
        return results

    async def _drop(self, spare: Sequence[str]) -> None:
        try:
            await self._blobs.delete(spare)
        except TransientError:
            return  # the sweep finds blobs that nothing names

    def _checked(self, submission: Submission, *, caller: Caller) -> Change:
        check_names(submission.collection, submission.document_id)
        content = None
        if submission.change_type is not ChangeType.DELETE and submission.patch is None:
            content = self._content(submission)
        event_id = submission.event_id or self._nonces.nonce()
        meta = submission.meta
        metas = identity.meta_hash(meta.title, meta.url, meta.metadata)
        return Change(
            tenant=caller.tenant,
            collection=submission.collection,
            document_id=DocumentId(submission.document_id),
            event=EventIdentity(submission.source, event_id, fingerprint_of(submission, content, metas)),
            content=content,
            meta=meta,
            meta_hash=metas,
            patch=submission.patch,
            source_version=submission.source_version,
            expect=submission.expect,
            batch_id=submission.batch_id,
            occurred_at=submission.occurred_at,
            origin=submission.origin,
            actor=caller.actor,
            request_id=caller.request_id,
        )

    def _content(self, submission: Submission) -> Content:
        text = submission.text
        if text is None:
            raise _wrong(Reason.INVALID_REQUEST, "/text", "An insert or update needs its text.")
        if "\x00" in text:
            raise _wrong(Reason.INVALID_REQUEST, "/text", "The text holds a NUL character.")
        if not text or text.isspace():
            raise _wrong(Reason.EMPTY_TEXT, "/text", "The text is empty or only white space.")
        if submission.media_type not in self._limits.media_types:
            known = ", ".join(sorted(self._limits.media_types))
            raise _wrong(Reason.UNSUPPORTED_MEDIA_TYPE, "/media_type", f"Not one of {known}.")
        data = text.encode()
        if len(data) > self._limits.max_text_bytes:
            detail = f"The text has {len(data)} bytes; the limit is {self._limits.max_text_bytes}."
            raise _wrong(Reason.TOO_LARGE, "/text", detail)
        return Content(submission.media_type, identity.content_hash(submission.media_type, data), len(data), text)

    async def _with_blob(self, change: Change) -> Change:
        """Large text goes to the blobs port before the decision, under a key that no other revision has."""
        content = change.content
        if content is None or content.text is None:
            return change
        collection = await self._registry.collection(change.tenant, change.collection)
        if collection is None:
            return change  # the ledger refuses it
        key = identity.raw_blob_key(
            self._deployment, collection.uid, document_id=change.document_id, nonce=self._nonces.nonce()
        )
        await self._blobs.put(key, content.text.encode())
        return replace(change, collection_uid=collection.uid, content=replace(content, text=None, blob=key))

    async def _claim(self, change: Change, claims: list[_Claim]) -> None:
        """One decision per event at a time in this process; a twin waits, then is a duplicate, or 409."""
        claim = (change.tenant, change.collection, change.event.source, change.event.event_id)
        if claim in claims:
            return  # the same event twice in one call: the ledger decides them in order
        if claim in self._deciding:
            await self._wait_for_twins(claim)
        self._deciding[claim] = None
        claims.append(claim)

    async def _wait_for_twins(self, claim: _Claim) -> None:
        deadline = self._clock.monotonic() + self._limits.event_wait_seconds
        while claim in self._deciding:
            # Hardly any claim has a twin: the first one makes what is waited for.
            decided = self._deciding[claim] = self._deciding[claim] or asyncio.Event()
            try:
                async with asyncio.timeout(max(0.0, deadline - self._clock.monotonic())):
                    await decided.wait()
            except TimeoutError:
                detail = "The same event is being decided right now. Ask again in a moment."
                raise Refusal(Reason.EVENT_IN_PROGRESS, detail) from None

    def _post(self, accepted: Accepted, *, tenant: TenantId, document_id: DocumentId, traceparent: str | None) -> None:
        if accepted.steps:
            self._told()
        if len(self._outbox) >= MAX_WAITING_HINTS:
            return  # bounded; the reconciler hints what is left out
        look = Hint(tenant, accepted.collection_uid, document_id, accepted.seq, traceparent=traceparent)
        self._outbox.extend(queues.hints_of(look, accepted.steps))
        if self._outbox:
            self._posted.set()


def _is_large(change: Change) -> bool:
    return change.content is not None and change.content.size_bytes > identity.INLINE_TEXT_BYTES


def check_names(collection: str, document_id: str) -> None:
    """Refuse names that cannot be."""
    if not identity.valid_collection_name(collection):
        detail = "A collection name is 1 to 63 of a-z 0-9 . _ - and begins with a letter or digit."
        raise _wrong(Reason.INVALID_COLLECTION_NAME, "/collection", detail)
    if not identity.valid_document_id(document_id):
        detail = "A document id is 1 to 512 bytes of UTF-8 without control characters and without . or .. segments."
        raise _wrong(Reason.INVALID_DOCUMENT_ID, "/document_id", detail)


def fingerprint_of(submission: Submission, content: Content | None, meta_hash: str) -> str:
    """What makes two events with one id the same event: all that decides the document's fate."""
    patch = submission.patch
    return identity.fingerprint(
        "patch" if patch else str(submission.change_type),
        submission.document_id,
        submission.source_version,
        content.hash if content else None,
        meta_hash,
        repr(patch) if patch else None,
    )


def ended(row: Row | None, seq: int) -> bool:
    """Whether waiting for that seq is over (API.md, `?wait=searchable`)."""
    if row is None or row.state in (State.DELETED, State.FAILED):
        return True
    return row.live >= seq


def document_keys(accepted: Iterable[tuple[Accepted, str]]) -> list[tuple[DocumentKey, int]]:
    """What to wait for after accepting: an unchanged or duplicate event waits for the row's desired seq."""
    wanted = []
    for result, document_id in accepted:
        seq = result.seq
        if result.outcome in (events.Outcome.UNCHANGED, events.Outcome.DUPLICATE) and result.row is not None:
            seq = result.row.seq
        wanted.append((DocumentKey(CollectionUid(result.collection_uid), DocumentId(document_id)), seq))
    return wanted


def _wrong(reason: Reason, pointer: str, detail: str) -> Refusal:
    return Refusal(reason, detail, pointers=((pointer, detail),))
