"""Chunks embedded again after an edit of one paragraph in the middle of a document of 200 pages."""

import uvloop

from benchmarks import corpus, loading, report, serving, wire

PAGES = 200
PAGE_CHARACTERS = 2500
HASHES = "SELECT count(DISTINCT hash) FROM chunk WHERE id >> 20 = {build}"
NEW = (
    "SELECT count(DISTINCT hash) FROM chunk WHERE id >> 20 = {build}"
    " AND hash NOT IN (SELECT hash FROM chunk WHERE id >> 20 < {build})"
)
LAST_BUILD = "SELECT max(bid) FROM build"


def edits(paragraphs: list[str]) -> dict[str, list[str]]:
    """The document after each edit, all of the paragraph in the middle."""
    middle = len(paragraphs) // 2
    before, old, after = paragraphs[:middle], paragraphs[middle], paragraphs[middle + 1 :]
    half = len(old) // 2
    longer = f"{old[:half]} which nobody had said before, {old[half:]}"
    return {
        "a word": [*before, old.replace(" ", " once ", 1), *after],
        "a clause": [*before, longer, *after],
        "another paragraph": [*before, " ".join(reversed(old.split())), *after],
        "a paragraph more": [*before, old, "This stands here for the first time, and says so.", *after],
        "a paragraph less": [*before, *after],
    }


async def measure(*, quick: bool) -> list[report.Row]:
    """The worst of the edits."""
    wanted = (PAGES // 10 if quick else PAGES) * PAGE_CHARACTERS
    paragraphs: list[str] = []
    for paragraph in corpus.prose():
        paragraphs.append(paragraph)
        wanted -= len(paragraph)
        if wanted <= 0:
            break
    embedded = {}
    async with serving.running() as server, wire.connected(serving.HOST, server.port) as connection:
        await loading.put(server, connection, "book", "\n\n".join(paragraphs))
        chunks = server.count(HASHES.format(build=server.count(LAST_BUILD)))
        for name, edited in edits(paragraphs).items():
            await loading.put(server, connection, "book", "\n\n".join(edited))
            embedded[name] = server.count(NEW.format(build=server.count(LAST_BUILD)))
    size = sum(len(paragraph) for paragraph in paragraphs)
    note = f"of {chunks:,} chunks, {size:,} characters; " + ", ".join(f"{k}: {v}" for k, v in embedded.items())
    return [report.at_most("chunks embedded after an edit of one paragraph", max(embedded.values()), 3, note=note)]


if __name__ == "__main__":
    print(report.table(uvloop.run(measure(quick=False))))
