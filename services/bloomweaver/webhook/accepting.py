"""From submissions to answers: the path that events, documents, uploads and signed sources share.

What the key does not see is refused before anything is looked at; what is left is decided by the service; `?wait=` then
waits for all that can still come. Every decision is counted, refused ones too.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bloomweaver import logger
from bloomweaver.domain import credentials, errors
from bloomweaver.domain.documents import Row
from bloomweaver.domain.events import Accepted, Outcome
from bloomweaver.domain.identity import TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import clock as clocks
from bloomweaver.runtime import context, metrics
from bloomweaver.runtime.web import authentication, problems
from bloomweaver.webhook import answering, envelopes, parameters, service

REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends. sees: whether a collection exists for this credential."""

    tenant: TenantId
    actor: str
    principal: credentials.Principal | None = None

    def sees(self, collection: str) -> bool:
        """A signed source has one collection, which its envelope was held to already."""
        return self.principal is None or self.principal.sees(collection)

    def caller(self) -> service.Caller:
        """The sender, as the service and the history know it."""
        here = context.current()
        return service.Caller(self.tenant, self.actor, here.request_id, here.traceparent)


@dataclass(frozen=True, slots=True)
class Decided:
    """One item's end. row: the document now, later than the change where it was waited for."""

    item: envelopes.Item
    result: Accepted | errors.Refusal
    row: Row | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """All items in the order sent. pending: time ran out for some."""

    decided: Sequence[Decided]
    pending: bool


def sender_of(principal: credentials.Principal) -> Sender:
    """The bearer of a key."""
    return Sender(principal.tenant, actor_of(principal), principal)


def actor_of(principal: credentials.Principal) -> str:
    """How the history names a key: never by its secret."""
    return f"key:{principal.key_id}"


class Acceptor:
    """Accepts the items of one call."""

    def __init__(self, service: service.WebhookService, *, clock: clocks.Clock, metrics: metrics.Metrics) -> None:
        self._service = service
        self._clock = clock
        self._metrics = metrics
        self._log = logger.get("bloomweaver.changes")
        self._says = self._log.is_enabled_for(logging.INFO)

    async def accept(
        self, items: Sequence[envelopes.Item], *, sender: Sender, wait: parameters.Wait | None = None
    ) -> Answers:
        """Decide every item, and wait where that is asked for."""
        submissions = [item.submission for item in items if item.submission is not None]
        seen = {name: sender.sees(name) for name in {submission.collection for submission in submissions}}
        good = [submission for submission in submissions if seen[submission.collection]]
        results = iter(await self._service.accept(good, caller=sender.caller()))
        decided = []
        for item in items:
            if item.submission is None:
                assert item.refusal is not None
                decided.append(Decided(item, item.refusal))
            elif not seen[item.submission.collection]:
                decided.append(
                    Decided(item, item.pointed(authentication.collection_not_found(item.submission.collection)))
                )
            else:
                result = next(results)
                if isinstance(result, Accepted):
                    decided.append(Decided(item, result, result.row))
                else:
                    decided.append(Decided(item, item.pointed(result.refusal)))
        for one in decided:
            self._count(one)
        if wait is None:
            return Answers(decided, pending=True)
        return await self._wait(decided, wait)

    async def one(
        self, submission: service.Submission, *, sender: Sender, wait: parameters.Wait | None = None
    ) -> tuple[Accepted, answering.Json, int]:
        """Accept a change that is a call of its own: the result, its JSON and the status. Raises what refuses it."""
        answers = await self.accept([envelopes.Item(submission)], sender=sender, wait=wait)
        result = answers.decided[0].result
        if isinstance(result, errors.Refusal):
            raise result
        return result, self.json_of(answers.decided[0]), self.status_of(answers)

    def json_of(self, one: Decided) -> answering.Json:
        """The answer to an accepted item."""
        assert isinstance(one.result, Accepted)
        assert one.item.submission is not None
        submission = one.item.submission
        return answering.result_of(
            one.result,
            collection=submission.collection,
            document_id=submission.document_id,
            row=one.row,
            now=self._clock.now(),
        )

    def status_of(self, answers: Answers) -> int:
        """202 while something is still to come."""
        return 202 if answers.pending else 200

    async def _wait(self, decided: Sequence[Decided], wait: parameters.Wait) -> Answers:
        """Superseded items have ended with the decision; the others end with their document."""
        waiting = [
            (index, one.result, one.item.submission.document_id)
            for index, one in enumerate(decided)
            if isinstance(one.result, Accepted)
            and one.item.submission is not None
            and one.result.outcome is not Outcome.SUPERSEDED
        ]
        wanted = service.document_keys((result, document_id) for _, result, document_id in waiting)
        rows = await self._service.wait(wanted, timeout_seconds=wait.timeout_seconds) if wanted else []
        found: Mapping[int, Row | None] = {index: row for (index, _, _), row in zip(waiting, rows, strict=True)}
        pending = any(not service.ended(row, seq) for row, (_, seq) in zip(rows, wanted, strict=True))
        later = [Decided(one.item, one.result, found.get(index, one.row)) for index, one in enumerate(decided)]
        return Answers(later, pending)

    def _count(self, one: Decided) -> None:
        submission = one.item.submission
        kind = "unknown" if submission is None else str(submission.change_type)
        outcome = one.result.outcome.value if isinstance(one.result, Accepted) else REJECTED
        size = len(submission.text) if submission is not None and submission.text is not None else 0
        self._metrics.count_event(kind, outcome, size_bytes=size)
        if not self._says:
            return
        self._log.info(
            "change",
            change_type=kind,
            outcome=outcome,
            collection=submission.collection if submission is not None else None,
            document_id=submission.document_id if submission is not None else None,
            event_id=submission.event_id if submission is not None else None,
            seq=one.result.seq if isinstance(one.result, Accepted) else None,
            reason=None if isinstance(one.result, Accepted) else one.result.reason.value,
        )


def several_json(answers: Answers, acceptor: Acceptor, *, instance: str) -> answering.Json:
    """The answer to several items: a result or a problem for each."""
    results: list[object] = []
    accepted = 0
    for index, one in enumerate(answers.decided):
        if isinstance(one.result, Accepted):
            accepted += 1
            results.append(acceptor.json_of(one))
        else:
            results.append({"index": index, "error": problems.document(one.result, instance=instance)})
    return {"accepted": accepted, "rejected": len(results) - accepted, "results": results}


def refuse_if_nothing_is_good(answers: Answers) -> None:
    """All items bad: the call itself is refused. An event that is being decided is not bad: it may be sent again."""
    refusals = [one.result for one in answers.decided if isinstance(one.result, errors.Refusal)]
    if len(refusals) < len(answers.decided) or any(r.reason is Reason.EVENT_IN_PROGRESS for r in refusals):
        return
    reasons = {refusal.reason for refusal in refusals}
    only = refusals[0].reason
    common = only if len(reasons) == 1 and problems.status_of(refusals[0]) == 422 else Reason.INVALID_REQUEST
    pointers = tuple(
        (pointer, f"{refusal.reason.value}: {detail}")
        for refusal in refusals
        for pointer, detail in refusal.pointers[:1]
    )
    raise errors.Refusal(common, "None of the items could be accepted.", pointers=pointers)
