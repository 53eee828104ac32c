"""What the ledger does to documents, said once more and shorter, from the rules alone: `domain.steps` is not used.

A version's life is `intent`, `ready`, `failed` or `dead`; whether it is shown is told by `live`.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Sent:
    src: int
    text: str
    team: str


@dataclass(slots=True)
class Document:
    seq: int
    src: int
    fsrc: int = 0
    tomb: bool = False
    live: int = 0
    failed: bool = False
    sent: dict[int, Sent] = field(default_factory=dict)
    versions: dict[tuple[int, str], str] = field(default_factory=dict)

    def visible(self) -> tuple[str, str] | None:
        return (self.sent[self.live].text, self.sent[self.live].team) if self.live else None

    def kill_below(self, seq: int) -> None:
        for name in self.versions:
            if name[0] < seq:
                self.versions[name] = "dead"


@dataclass(slots=True)
class Model:
    """One collection. pipes: active, building, previous (None: there is none)."""

    by_source: bool
    active: str = "a"
    building: str | None = None
    previous: str | None = None
    documents: dict[str, Document] = field(default_factory=dict)

    @property
    def pipes(self) -> list[str]:
        return [pipe for pipe in (self.active, self.building, self.previous) if pipe]

    def put(self, name: str, text: str, *, version: int, seq: int) -> str:
        """The expected outcome; `seq` is what the ledger would give."""
        document = self.documents.get(name)
        src = version if self.by_source else seq
        if document is None:
            self.documents[name] = Document(seq, src, sent={seq: Sent(src, text, "hr")})
            return "created"
        now = document.sent[document.seq]
        same = not document.tomb and (now.text, now.team) == (text, "hr")
        if self.by_source and src <= document.src:
            return "unchanged" if src == document.src and same else "superseded"
        if same:
            if self.by_source:
                document.src = now.src = src
            return "unchanged"
        outcome = "created" if document.tomb else "metadata_only" if now.text == text else "updated"
        document.seq, document.src, document.tomb, document.failed = seq, src, False, False
        document.sent[seq] = Sent(src, text, "hr")
        return outcome

    def patch(self, name: str, team: str, *, seq: int) -> str | None:
        """None: refused."""
        document = self.documents.get(name)
        if document is None or document.tomb:
            return None
        now = document.sent[document.seq]
        if now.team == team:
            return "unchanged"
        document.seq, document.failed = seq, False
        if not self.by_source:
            seq_src = document.src  # a patch keeps its document's order key
            document.sent[seq] = Sent(seq_src, now.text, team)
        else:
            document.sent[seq] = Sent(document.src, now.text, team)
        return "metadata_only"

    def delete(self, name: str, *, version: int, seq: int) -> str:
        document = self.documents.get(name)
        src = version if self.by_source else seq
        if not self.by_source and (document is None or document.tomb):
            return "unchanged"
        if document is None or src > document.src:
            if document is None:
                document = self.documents[name] = Document(seq, src)
            document.seq, document.src, document.fsrc = seq, src, src
            document.tomb, document.live, document.failed = True, 0, False
            document.sent[seq] = Sent(src, "", "")
            document.kill_below(seq)
            return "deleted"
        if src == document.src:
            return "unchanged" if document.tomb else "superseded"
        document.fsrc = max(document.fsrc, src)
        if document.live and document.sent[document.live].src <= document.fsrc:
            document.live = 0
        for seq_, pipe in document.versions:
            if document.sent[seq_].src <= document.fsrc:
                document.versions[seq_, pipe] = "dead"
        return "superseded"

    def wanted(self, document: Document, seq: int, pipe: str) -> bool:
        """Whether work on it may begin."""
        if document.tomb or pipe not in self.pipes or (seq, pipe) in document.versions:
            return False
        if seq == document.seq and not document.failed:
            return True
        ready = [s for (s, p), state in document.versions.items() if p == self.active and state == "ready"]
        newest = max((s for s in ready if s > document.live), default=0)
        return pipe != self.active and (seq == document.live or (seq == newest and not document.failed))

    def may_show(self, document: Document, seq: int) -> bool:
        if document.tomb or seq <= document.live or document.sent[seq].src <= document.fsrc:
            return False
        return all(
            document.versions.get((seq, pipe)) in (("ready",) if pipe == self.active else ("ready", "failed"))
            for pipe in self.pipes
        )

    def show(self, document: Document, seq: int) -> None:
        document.live = seq
        if seq == document.seq:
            document.failed = False
        document.kill_below(seq)

    def settle(self, name: str, seq: int, pipe: str) -> bool:
        """Whether it flips."""
        document = self.documents[name]
        if document.versions.get((seq, pipe)) not in ("intent", "ready"):
            return False
        document.versions[seq, pipe] = "ready"
        if not self.may_show(document, seq):
            return False
        self.show(document, seq)
        return True

    def show_what_waits(self, document: Document) -> None:
        candidates = sorted({s for (s, _), state in document.versions.items() if state == "ready"}, reverse=True)
        found = next((s for s in candidates if self.may_show(document, s)), None)
        if found is not None:
            self.show(document, found)

    def fail(self, name: str, seq: int, pipe: str) -> None:
        document = self.documents[name]
        begun = document.versions.pop((seq, pipe), None)
        if not self.wanted(document, seq, pipe) or begun not in (None, "intent"):
            if begun is not None:
                document.versions[seq, pipe] = begun
            return
        if pipe != self.active:
            document.versions[seq, pipe] = "failed"
        else:
            document.failed = True
            if begun is not None:
                document.versions[seq, pipe] = begun
        self.show_what_waits(document)

    def retry(self, name: str) -> None:
        document = self.documents[name]
        if document.tomb:
            return
        for (seq, pipe), state in list(document.versions.items()):
            if (state == "failed" and pipe in self.pipes) or (
                document.failed and state == "intent" and seq == document.seq
            ):
                del document.versions[seq, pipe]
        document.failed = False

    def generation(self, *, active: str, building: str | None, previous: str | None) -> None:
        if active != self.active:
            for document in self.documents.values():
                for name, state in list(document.versions.items()):
                    if name[1] == active and state == "failed":
                        del document.versions[name]
        self.active, self.building, self.previous = active, building, previous

    def heal(self) -> None:
        """What the reconciler's rounds come to: waiting flips happen, what is not current dies."""
        for document in self.documents.values():
            self.show_what_waits(document)
            for name, state in document.versions.items():
                over = name[1] not in self.pipes or document.sent[name[0]].src <= document.fsrc
                if over or (name[0] < document.live and state != "dead"):
                    document.versions[name] = "dead"

    def gate_is_open(self, pipe: str) -> bool:
        shown = [d for d in self.documents.values() if d.live]
        return all(d.versions.get((d.live, pipe)) == "ready" for d in shown)
