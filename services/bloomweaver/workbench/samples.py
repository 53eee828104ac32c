"""Texts to measure a model with: chunks as indexing makes them, and the headings that they stand below."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bloomweaver.domain import chunking, errors, models, reasons
from bloomweaver.ports import embedders
from bloomweaver.text import parsing

MEDIA_TYPES: Final = {
    ".md": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
    ".txt": "text/plain",
    ".rst": "text/plain",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A chunk. heading: the path of titles above it, empty for none."""

    passage: embedders.Passage
    heading: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A heading that stands in one place only, and which samples it is the title of."""

    text: str
    answers: frozenset[int]


def of_folder(folder: Path, embedder: embedders.Embedder, *, most: int) -> list[Sample]:
    """Chunks of the texts below a folder: spread over all of them, the same ones every time."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in MEDIA_TYPES and path.is_file())
    # By the hash of their names: a sample of half the files is not the first half of the alphabet.
    paths.sort(key=lambda path: hashlib.sha256(str(path.relative_to(folder)).encode()).digest())
    texts = ((path.read_text(encoding="utf-8", errors="replace"), MEDIA_TYPES[path.suffix.lower()]) for path in paths)
    found = _cut(texts, embedder, most=most)
    if not found:
        detail = f"no text below {folder}: it takes files that end in {', '.join(MEDIA_TYPES)}"
        raise errors.Refusal(reasons.Reason.NO_TEXT, detail)
    return found


def of_chunks(chunks: Iterable[tuple[str, Sequence[str]]], embedder: embedders.Embedder, *, most: int) -> list[Sample]:
    """Chunks that a collection has already, with their headings; those over the model's room are cut again."""
    found: list[Sample] = []
    for text, heading in chunks:
        found += [
            Sample(sample.passage, tuple(heading)) for sample in _cut([(text, "text/plain")], embedder, most=most)
        ]
        if len(found) >= most:
            break
    return found[:most]


def questions(samples: Sequence[Sample], *, most: int) -> list[Question]:
    """Headings as queries: what a person would look for, with answers that nobody had to judge.

    A title that stands in several places ("Parameters") is asked for together with the one above it.
    """
    answers: dict[tuple[str, ...], set[int]] = {}
    for index, sample in enumerate(samples):
        if any(title.strip() for title in sample.heading[-1:]):
            answers.setdefault(sample.heading, set()).add(index)
    alone = _named_once(answers, titles=1)
    named = alone | {path: text for path, text in _named_once(answers, titles=2).items() if path not in alone}
    asked = ((named[path], found) for path, found in answers.items() if path in named)
    return [Question(text, frozenset(found)) for text, found in itertools.islice(asked, most)]


def _named_once(paths: Iterable[tuple[str, ...]], *, titles: int) -> dict[tuple[str, ...], str]:
    """The paths that their last titles tell from all others, and these titles as text."""
    places: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for path in paths:
        places.setdefault(path[-titles:], []).append(path)
    return {found[0]: " ".join(ending) for ending, found in places.items() if len(found) == 1}


def _cut(texts: Iterable[tuple[str, str]], embedder: embedders.Embedder, *, most: int) -> list[Sample]:
    found: list[Sample] = []
    room = embedder.spec.room(models.Kind.DOCUMENT)
    for chunk in _chunks(texts, embedder, room):
        found.append(Sample(embedders.Passage(chunk.text, chunk.token_ids), chunk.heading))
        if len(found) == most:
            break
    return found


def _chunks(texts: Iterable[tuple[str, str]], embedder: embedders.Embedder, room: int) -> Iterator[chunking.Chunk]:
    for text, media_type in texts:
        extracted = parsing.parse(text, media_type)
        yield from chunking.split(extracted, embedder.tokenizer.encode, max_tokens=room)
