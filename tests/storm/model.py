"""What clients of a storm sent and were answered, and nothing else: the judge of every search and of the end.

Each text consists of words that name the turn which made it, so that any piece of a hit tells which version it is of,
and whether the version is shown whole. Invariant: a document is changed by one client at a time, which waits for the
answer before the document's next change; what is in the model was therefore acknowledged, but for `unsure`.
"""

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bloomweaver.domain import identity

WORDS = 36
CHUNK_TOKENS = 16
LARGE_EVERY = 400
_WORD = re.compile(r"t(\d+)w\d+\Z")


def text_of(turn: int) -> str:
    """Three chunks of words; now and then as long as what goes to the blobs, without being more to embed."""
    words = [f"t{turn}w{number}" for number in range(WORDS)]
    long = " " * (identity.INLINE_TEXT_BYTES + 1) if turn % LARGE_EVERY == 0 else " "
    return " ".join(words[:-1]) + long + words[-1]


@dataclass(slots=True)
class Known:
    """One document. turn: of its text, None when it is deleted. mark: in its metadata.

    unsure: a change of it is on its way, so that either state may be seen. floor: no search may show an older turn.
    version: the highest that was sent where the source orders; answered: the highest that was answered.
    """

    turn: int | None = None
    mark: int = 0
    seq: int = 0
    version: int = 0
    unsure: bool = False
    floor: int = -1
    answered: int = -1

    @property
    def exists(self) -> bool:
        return self.turn is not None


@dataclass(slots=True)
class Model:
    """One collection. ordered: by the source's versions."""

    collection: str
    ordered: bool
    documents: dict[str, Known] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    searched: int = 0
    hits_seen: int = 0

    def ask(self, documents: Sequence[str]) -> "Asked":
        """What was known when a search for all chunks of these documents began."""
        known = {name: self.documents[name] for name in documents}
        gone = {name: one.seq for name, one in known.items() if not one.exists and not one.unsure and one.seq}
        return Asked(frozenset(documents), gone, {name: one.floor for name, one in known.items()})

    def judge(self, asked: "Asked", hits: Iterable[Mapping[str, Any]], *, whole: bool) -> None:
        """One search. whole: its answer was not cut short."""
        self.searched += 1
        shown: dict[str, list[Mapping[str, Any]]] = {}
        for hit in hits:
            self.hits_seen += 1
            shown.setdefault(hit["document_id"], []).append(hit)
        for document, found in shown.items():
            if document not in asked.documents:
                self._violated(f"{document} is shown to a search for others")
                continue
            if self._still_gone(document, asked):
                self._violated(f"{document} is shown after its delete was answered")
            self._judge_version(document, found, floor=asked.floors[document], whole=whole)

    def judge_end(self, documents: Sequence[str], hits: Sequence[Mapping[str, Any]]) -> None:
        """When all has settled: shown is what is known, and nothing else."""
        shown = {hit["document_id"]: (hit["metadata"]["mark"], _turns([hit])) for hit in hits}
        for name in documents:
            known = self.documents[name]
            expected = (known.mark, {known.turn}) if known.exists else None
            if shown.get(name) != expected:
                self._violated(f"{name} shows {shown.get(name)} in the end, not {expected}")

    def _still_gone(self, document: str, asked: "Asked") -> bool:
        known = self.documents[document]
        return asked.gone.get(document) == known.seq and not known.unsure

    def _judge_version(self, document: str, found: list[Mapping[str, Any]], *, floor: int, whole: bool) -> None:
        turns = _turns(found)
        if len(turns) != 1 or len({(hit["seq"], hit["metadata"]["mark"]) for hit in found}) != 1:
            self._violated(f"{document} mixes versions: turns {sorted(turns)}")
            return
        (turn,) = turns
        words = sorted(word for hit in found for word in hit["chunk"]["text"].split())
        if whole and words != sorted(text_of(turn).split()):
            self._violated(f"{document} is not shown whole: {len(words)} of {WORDS} words of turn {turn}")
        if not self.ordered and turn < floor:
            self._violated(f"{document} shows turn {turn} after turn {floor} was shown")
        known = self.documents[document]
        known.floor = max(known.floor, turn)

    def _violated(self, what: str) -> None:
        self.violations.append(f"{self.collection}: {what}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was known when a search began. gone: deleted documents, with the seq of their delete."""

    documents: frozenset[str]
    gone: Mapping[str, int]
    floors: Mapping[str, int]


def _turns(hits: Iterable[Mapping[str, Any]]) -> set[int]:
    words = (word for hit in hits for word in hit["chunk"]["text"].split())
    return {int(match[1]) for word in words if (match := _WORD.match(word))}


@dataclass(slots=True)
class Author:
    """Draws what clients do next, from a seed. One author per client and collection."""

    model: Model
    name: str
    count: int
    dice: random.Random
    turns: Iterator[int]
    sent: list[dict[str, Any]] = field(default_factory=list)

    def batch(self, size: int) -> list[dict[str, Any]]:
        """Changes of different documents, or, where the source orders them, of any, in a shuffled order."""
        if self.model.ordered:
            events = [event for _ in range(max(1, size // 3)) for event in self._burst()]
            self.dice.shuffle(events)
            return events
        names = self.dice.sample(range(self.count), min(size, self.count))
        return [self._event(self._document(number)) for number in names]

    def _document(self, number: int) -> str:
        return f"{self.name}-{number}"

    def _event(self, document: str) -> dict[str, Any]:
        known = self.model.documents.setdefault(document, Known())
        turn = next(self.turns)
        if known.exists and self.dice.random() < 0.15:
            return {"event_id": f"e{turn}", "document_id": document, "change_type": "delete", "turn": turn}
        change = "update" if known.exists else "insert"
        return self._change(document, turn, change)

    def _burst(self) -> list[dict[str, Any]]:
        """Three versions of one document, the last of them a delete at times."""
        document = self._document(self.dice.randrange(self.count))
        known = self.model.documents.setdefault(document, Known())
        events = []
        for step in range(3):
            known.version += self.dice.randint(1, 5)
            turn = next(self.turns)
            deletes = step == 2 and self.dice.random() < 0.2
            event = (
                {"event_id": f"e{turn}", "document_id": document, "change_type": "delete", "turn": turn}
                if deletes
                else self._change(document, turn, "upsert")
            )
            events.append({**event, "source_version": known.version})
        return events

    def _change(self, document: str, turn: int, change: str) -> dict[str, Any]:
        metadata = {"doc": document, "mark": turn}
        return {"event_id": f"e{turn}", "document_id": document, "change_type": change, "turn": turn,
                "text": text_of(turn), "metadata": metadata}  # fmt: skip

    def again(self) -> list[dict[str, Any]]:
        """Some of what was sent and answered long ago, once more: duplicates that change nothing."""
        return self.dice.sample(self.sent, min(3, len(self.sent)))
