"""The judge of a history: from calls and answers alone, whether a promise was broken.

It knows nothing of rows, versions or queues. Its model of a document is the list of revisions that clients were told of
(by seq), the order key of each, and the deletes; every search is compared with what could have been true while it ran.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.simulation.histories import History, Kind, Operation, Search, Seen, Violation


@dataclass(slots=True)
class Document:
    """All that is known of one document of one life of a collection."""

    tenant: str
    collection: str
    name: str
    revisions: dict[int, Operation] = field(default_factory=dict)
    affirmed: dict[int, list[Operation]] = field(default_factory=lambda: defaultdict(list))
    deletes: list[Operation] = field(default_factory=list)

    def version(self, seq: int, *, before: float) -> int | None:
        """The highest source version that may have affirmed that seq by then."""
        known = [op.version for op in self.affirmed[seq] if op.version is not None and op.started < before]
        return max(known, default=None)

    def content(self, seq: int) -> Operation | None:
        """The put whose content stands under that seq: a patch keeps what was before it."""
        lower = [s for s in self.revisions if s <= seq and self.revisions[s].kind is not Kind.PATCH]
        found = self.revisions[max(lower)] if lower else None
        return found if found is not None and found.kind is Kind.PUT else None

    def hides(self, delete: Operation, seq: int, *, before: float) -> bool:
        """Whether that delete takes that seq out of sight."""
        if delete.takes_seq or delete.outcome is None:
            return delete.seq > seq or delete.outcome is None
        version = self.version(seq, before=before)
        return delete.version is not None and version is not None and version < delete.version

    def may_hide(self, delete: Operation, seq: int, *, before: float) -> bool:
        """The generous reading of `hides`, for an excuse: an equal version may have been enough."""
        version = self.version(seq, before=before)
        equal = delete.version is not None and version is not None and version <= delete.version
        return equal or self.hides(delete, seq, before=before)


@dataclass(frozen=True, slots=True)
class Sight:
    """What one search saw of one document."""

    search: Search
    seq: int


class Oracle:
    """Judges one finished history."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._violations: list[Violation] = list(history.violations)
        self._documents: dict[tuple[str, str], Document] = {}
        self._owners: dict[tuple[str, int], tuple[str, str]] = {}
        self._ended = {removal.uid: removal for removal in history.removals}

    def judge(self) -> list[Violation]:
        """Everything that was broken, in the order of time."""
        self._learn()
        self._check_answers()
        seen: dict[tuple[str, str], list[Sight]] = defaultdict(list)
        for search in sorted(self._history.searches, key=lambda s: (s.ended, s.number)):
            self._check_search(search, seen)
        return sorted(self._violations, key=lambda v: v.at)

    def _broken(self, invariant: str, at: float, what: str) -> None:
        self._violations.append(Violation(invariant, at, what))

    def _learn(self) -> None:
        for op in self._history.operations:
            if op.refused is not None or (op.outcome is None and op.kind is not Kind.DELETE):
                continue
            place = op.place
            document = self._documents.setdefault(
                (op.uid, place.document), Document(place.tenant, place.collection, place.document)
            )
            if op.takes_seq:
                if op.seq in document.revisions:
                    self._broken("I10", op.ended or op.started, f"{op} and {document.revisions[op.seq]}: one seq")
                document.revisions[op.seq] = op
                self._owners[place.tenant, op.seq] = (op.uid, place.document)
            if op.kind is not Kind.PATCH and (op.takes_seq or op.outcome == "unchanged"):
                document.affirmed[op.seq].append(op)
            if op.kind is Kind.DELETE and op.outcome != "unchanged":
                document.deletes.append(op)
        for document in self._documents.values():
            for seq, op in document.revisions.items():
                if op.kind is Kind.PATCH and (base := document.content(seq)) is not None:
                    document.affirmed[seq].extend(document.affirmed[base.seq])

    def _check_answers(self) -> None:
        """I9, I10: answers fit each other: real time orders seqs, `unchanged` names equal content."""
        for document in self._documents.values():
            ordered = sorted(document.revisions.items())
            for (low, first), (high, second) in itertools.pairwise(ordered):
                if second.ended is not None and second.ended < first.started:
                    at = second.ended
                    self._broken("I9", at, f"{first} has seq {low}, but {second} with {high} was answered before it")
            for seq, affirming in document.affirmed.items():
                content = document.content(seq)
                for op in affirming:
                    if op.kind is Kind.PUT and (content is None or content.paragraphs != op.paragraphs):
                        self._broken("I9", op.started, f"{op} was {op.outcome} as seq {seq}, whose content differs")

    def _check_search(self, search: Search, seen: dict[tuple[str, str], list[Sight]]) -> None:
        if search.hits is None:
            return
        if any(begins <= search.started and search.ended < ends for begins, ends in self._history.outages):
            self._broken("I18", search.ended, f"search {search.number} answered while the ledger was away")
        by_document: dict[tuple[str, str], list[Seen]] = defaultdict(list)
        for hit in search.hits:
            owner = self._owners.get((search.tenant, hit.seq))
            asked = owner is not None and self._documents[owner].collection in search.collections
            if owner is None or not asked or owner[1] != hit.document:
                self._broken(
                    "I6", search.ended, f"search {search.number} shows {hit}, which {search.tenant} never sent"
                )
            else:
                by_document[owner].append(hit)
        shown = {}
        for owner, hits in by_document.items():
            shown[owner] = self._check_document(search, self._documents[owner], owner[0], hits)
        self._check_progress(search, shown, seen)
        for owner, seq in shown.items():
            seen[owner].append(Sight(search, seq))

    def _check_document(self, search: Search, document: Document, uid: str, hits: list[Seen]) -> int:
        who = f"search {search.number}: {document.tenant}/{document.collection}/{document.name}"
        seqs = sorted({hit.seq for hit in hits})
        if len(seqs) > 1:
            self._broken("I2", search.ended, f"{who} shows a mix of seqs {seqs}")
        seq = seqs[-1]
        content = document.content(seq)
        words = frozenset(word for hit in hits for word in hit.text.split())
        if content is None or document.revisions[seq].started > search.ended:
            self._broken("I6", search.ended, f"{who} shows seq {seq}, which has no content yet")
        elif words - content.words:
            self._broken("I6", search.ended, f"{who} shows words of another text: {sorted(words - content.words)[:3]}")
        elif content.words - words and not search.truncated:
            self._broken("I3", search.ended, f"{who} shows a part of seq {seq}: {len(hits)} chunks")
        if search.tag is not None and any(hit.tag != search.tag for hit in hits):
            self._broken("I6", search.ended, f"{who} shows what the filter {search.tag!r} excludes")
        self._check_deleted(search, document, uid, seq)
        return seq

    def _check_deleted(self, search: Search, document: Document, uid: str, seq: int) -> None:
        for delete in document.deletes:
            answered = delete.ended is not None and delete.ended < search.started
            if answered and document.hides(delete, seq, before=search.ended):
                self._broken("I1", search.ended, f"search {search.number} shows seq {seq}, deleted by {delete}")
        removal = self._ended.get(uid)
        if removal is not None and removal.ended is not None and removal.ended < search.started:
            what = f"search {search.number} shows {document.name} of a collection deleted at {removal.ended:.1f} s"
            self._broken("I1", search.ended, what)

    def _check_progress(
        self, search: Search, shown: dict[tuple[str, str], int], seen: dict[tuple[str, str], list[Sight]]
    ) -> None:
        """I4, I5: nothing older than an earlier search showed, and nothing missing that it showed."""
        for owner, sights in seen.items():
            document = self._documents[owner]
            if document.tenant != search.tenant or document.collection not in search.collections:
                continue
            earlier = [s.seq for s in sights if s.search.ended < search.started]
            if not earlier:
                continue
            newest = max(earlier)
            who = f"search {search.number}: {document.tenant}/{document.collection}/{document.name}"
            if owner in shown:
                if shown[owner] < newest:
                    self._broken("I4", search.ended, f"{who} shows seq {shown[owner]} after {newest} was shown")
            elif search.tag is None and not search.truncated and not self._excused(search, document, owner[0], newest):
                self._broken("I5", search.ended, f"{who} misses what was shown before as seq {newest}")

    def _excused(self, search: Search, document: Document, uid: str, seq: int) -> bool:
        removal = self._ended.get(uid)
        if removal is not None and removal.started < search.ended:
            return True
        if any(
            force[:2] == (document.tenant, document.collection) and force[2] < search.ended
            for force in self._history.forced
        ):
            return True
        return any(
            delete.started < search.ended and document.may_hide(delete, seq, before=search.ended)
            for delete in document.deletes
        )

    def expected(self) -> Iterable[tuple[str, str, Operation | None]]:
        """I7: (uid, document, the put whose content has to be shown in the end; None: nothing)."""
        for (uid, name), document in sorted(self._documents.items()):
            if uid not in self._ended:
                yield uid, name, self._last(document)

    @staticmethod
    def _last(document: Document) -> Operation | None:
        """The highest source version wins, else the highest seq; then what patches and plain deletes made of it."""
        deciding = [op for ops in document.affirmed.values() for op in ops if op.version is not None]
        if deciding:
            base = max(deciding, key=lambda op: (op.version or 0, op.seq)).seq
        else:
            base = max((seq for seq, op in document.revisions.items() if op.kind is not Kind.PATCH), default=0)
        after = [seq for seq, op in document.revisions.items() if seq >= base and op.version is None]
        final = max([base, *(seq for seq in after if document.revisions[seq].kind is Kind.DELETE)])
        found = document.revisions.get(final)
        return document.content(final) if found is not None and found.kind is not Kind.DELETE else None
