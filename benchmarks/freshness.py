"""From an event to what search shows, on a warm server that does nothing else: one small document after the other."""

import asyncio
import contextlib
import sqlite3

import uvloop

from benchmarks import corpus, loading, report, serving, wire

DOCUMENTS = 100
DOCUMENT_BYTES = 2000
SHOWN = "SELECT 1000 * (shown_at - accepted_at) FROM document WHERE doc LIKE 'fresh-%' AND shown_at IS NOT NULL"


async def measure(*, quick: bool) -> list[report.Row]:
    """By the ledger's own dates, and as a client sees it that waits for the answer."""
    count = DOCUMENTS // 10 if quick else DOCUMENTS
    texts = corpus.documents(DOCUMENT_BYTES)
    async with serving.running() as server, wire.connected(serving.HOST, server.port) as connection:
        await loading.put(server, connection, "warm", next(texts))
        waited = []
        for number in range(count):
            waited.append(await loading.put(server, connection, f"fresh-{number}", next(texts)))
            await asyncio.sleep(0.02)
        with contextlib.closing(sqlite3.connect(f"file:{server.folder}/ledger.db?mode=ro", uri=True)) as ledger:
            shown = sorted(float(row[0]) for row in ledger.execute(SHOWN))
    waited.sort()
    return [
        report.Row(
            "from accepted to searchable, warm",
            f"p50 {shown[count // 2]:.0f} ms, p95 {shown[int(count * 0.95)]:.0f} ms",
            note=f"{count} documents of 2 kB (2 to 3 chunks), by the ledger's dates",
        ),
        report.Row(
            "the same for a client with ?wait=searchable",
            f"p50 {waited[count // 2]:.0f} ms, p95 {waited[int(count * 0.95)]:.0f} ms",
        ),
    ]


if __name__ == "__main__":
    print(report.table(uvloop.run(measure(quick=False))))
