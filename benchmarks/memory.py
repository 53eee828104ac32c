"""Memory of `bloomweaver dev` while it takes in 10,000 chunks: the peak of what its processes hold, by share."""

import asyncio

import uvloop

from benchmarks import corpus, loading, report, serving

CHUNKS = 10_000
SAMPLE_SECONDS = 0.25
STORED = "SELECT count(*) FROM chunk"


async def measure(*, quick: bool) -> list[report.Row]:
    """Peak and what is held when idle, before and after."""
    wanted = CHUNKS // 20 if quick else CHUNKS
    async with serving.running() as server:
        began = peak = server.proportional_set_megabytes()

        async def feed() -> None:
            turn = 0
            while server.count(STORED) < wanted:
                pages = corpus.pages()[1]
                for at in range(0, len(pages), 20):
                    batch = [
                        (f"{turn}/{name}", kind, f"{text}\n<p>{turn}</p>") for name, kind, text in pages[at : at + 20]
                    ]
                    await loading.send(server, batch)
                    await loading.until_searchable(server)
                    if server.count(STORED) >= wanted:
                        break
                turn += 1

        feeding = asyncio.create_task(feed())
        while not feeding.done():
            peak = max(peak, server.proportional_set_megabytes())
            await asyncio.wait([feeding], timeout=SAMPLE_SECONDS)
        await feeding
        chunks, ended = server.count(STORED), server.proportional_set_megabytes()
    note = f"{chunks:,} chunks; {began} MB idle before, {ended} MB after"
    return [report.at_most("peak memory (PSS) of `dev` while ingesting", peak, 450, unit=" MB", note=note)]


if __name__ == "__main__":
    print(report.table(uvloop.run(measure(quick=False))))
