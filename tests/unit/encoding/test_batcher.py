"""The batcher over the in-memory embedder: sharing, isolation, fairness, bounds."""

import asyncio
import random
import threading
from array import array

import numpy as np
import pytest

from bloomweaver.adapters.embedders import memory
from bloomweaver.domain import errors, models, reasons
from bloomweaver.encoding import batcher
from bloomweaver.ports import embedders
from bloomweaver.testing import loop

DOCUMENT, QUERY = models.Kind.DOCUMENT, models.Kind.QUERY


class Gated(memory.MemoryEmbedder):
    """Holds every batch until the gate opens, and remembers what came."""

    def __init__(self, **settings) -> None:
        super().__init__(memory.spec_of(**settings))
        self.gate = asyncio.Event()
        self.batches: list[list[str]] = []

    async def embed(self, passages, kind):
        self.batches.append([passage.text for passage in passages])
        await self.gate.wait()
        return await super().embed(passages, kind)


def fake(fault=None, **settings):
    return memory.MemoryEmbedder(memory.spec_of(**settings), fault=fault)


def poisoned(error):
    def fault(passages):
        if any("poison" in passage.text for passage in passages):
            raise error

    return fault


async def settled():
    for _ in range(20):
        await asyncio.sleep(0)


async def test_rows_come_back_in_the_order_given():
    embedder = fake()
    texts = [f"text {'long ' * number}" for number in range(40)]
    async with batcher.Batcher(embedder) as encoder:
        encoded = await encoder.encode_texts(texts, kind=DOCUMENT)
    expected = await embedder.embed(
        [embedders.Passage(text, embedder.tokenizer.encode([text])[0].ids) for text in texts], DOCUMENT
    )
    assert not encoded.failures
    np.testing.assert_array_equal(encoded.vectors, expected)


async def test_concurrent_callers_share_batches():
    embedder = Gated()
    embedder.gate.set()
    async with batcher.Batcher(embedder) as encoder:
        await asyncio.gather(*(encoder.encode_texts([f"text {n}"], kind=DOCUMENT, owner=str(n)) for n in range(30)))
    assert len(embedder.batches) == 1
    figures = encoder.figures()[DOCUMENT]
    assert (figures.passages_total, figures.batches_total, figures.waiting_passages) == (30, 1, 0)


async def test_batches_stay_within_the_budget_of_padded_tokens():
    embedder = Gated()
    embedder.gate.set()
    async with batcher.Batcher(embedder, limits=batcher.Limits(budget_tokens=256)) as encoder:
        await encoder.encode_texts(["word " * 30] * 20, kind=DOCUMENT)
    assert [len(batch) for batch in embedder.batches] == [8, 8, 4]


async def test_one_text_that_fails_does_not_fail_its_neighbours():
    embedder = fake(poisoned(errors.RetryableError(reasons.Reason.EMBEDDING_FAILED, "it broke")))
    texts = ["good one", "a poison", "good two", "good three", "another poison"]
    async with batcher.Batcher(embedder) as encoder:
        encoded = await encoder.encode_texts(texts, kind=DOCUMENT)
    assert {index: error.detail for index, error in encoded.failures.items()} == {1: "it broke", 4: "it broke"}
    assert np.isnan(encoded.vectors[[1, 4]]).all()
    assert np.isfinite(encoded.vectors[[0, 2, 3]]).all()


async def test_a_text_of_megabytes_does_not_hold_up_the_loop():
    class Counted(memory.WordTokenizer):
        def encode(self, texts):
            threads.add(threading.current_thread())
            return super().encode(texts)

    threads: set[threading.Thread] = set()
    embedder = fake()
    embedder.tokenizer = Counted()
    async with batcher.Batcher(embedder) as encoder:
        encoded = await encoder.encode_texts(["word " * 1_000_000], kind=DOCUMENT)
    assert encoded.failures[0].reason is reasons.Reason.TEXT_TOO_LONG
    assert threads.isdisjoint({threading.current_thread()})


async def test_ten_thousand_texts_in_one_call_are_all_embedded():
    async with batcher.Batcher(fake()) as encoder:
        encoded = await encoder.encode_texts([f"text {number}" for number in range(10_000)], kind=DOCUMENT)
    assert not encoded.failures
    assert np.isfinite(encoded.vectors).all()


async def test_a_row_that_is_not_finite_fails_alone():
    class Broken(memory.MemoryEmbedder):
        async def embed(self, passages, kind):
            vectors = await super().embed(passages, kind)
            vectors[[index for index, passage in enumerate(passages) if passage.text == "bad"]] = np.nan
            return vectors

    async with batcher.Batcher(Broken(memory.spec_of())) as encoder:
        encoded = await encoder.encode_texts(["good", "bad", "fine"], kind=DOCUMENT)
    assert {index: error.reason for index, error in encoded.failures.items()} == {1: reasons.Reason.INVALID_VECTOR}
    assert isinstance(encoded.failures[1], errors.PermanentError)


async def test_an_outage_is_reported_for_every_passage_without_bisecting():
    calls = []

    def outage(passages):
        calls.append(len(passages))
        raise errors.TransientError(reasons.Reason.EMBEDDER_UNAVAILABLE)

    async with batcher.Batcher(fake(outage)) as encoder:
        encoded = await encoder.encode_texts(["one", "two", "three"], kind=DOCUMENT)
    assert calls == [3]
    assert {error.reason for error in encoded.failures.values()} == {reasons.Reason.EMBEDDER_UNAVAILABLE}


async def test_a_wrong_configuration_reaches_the_caller():
    def refuse(_):
        raise errors.ConfigurationError(reasons.Reason.MODEL_NOT_USABLE, "gone")

    async with batcher.Batcher(fake(refuse)) as encoder:
        with pytest.raises(errors.ConfigurationError, match="gone"):
            await encoder.encode_texts(["one"], kind=DOCUMENT)


async def test_when_memory_runs_out_the_batch_is_halved_until_it_fits():
    def small(passages):
        if len(passages) > 4:
            raise MemoryError

    async with batcher.Batcher(fake(small)) as encoder:
        encoded = await encoder.encode_texts([f"text {number}" for number in range(16)], kind=DOCUMENT)
        budget = encoder.figures()[DOCUMENT].budget_tokens
    assert not encoded.failures
    assert budget < 1024


async def test_a_document_over_the_limit_fails_and_the_rest_is_embedded():
    async with batcher.Batcher(fake(max_tokens=10)) as encoder:
        encoded = await encoder.encode_texts(["short", "word " * 9], kind=DOCUMENT)
    assert encoded.failures[1].reason is reasons.Reason.TEXT_TOO_LONG
    assert np.isfinite(encoded.vectors[0]).all()


async def test_a_query_over_the_limit_is_cut_and_reported():
    async with batcher.Batcher(fake(max_tokens=10)) as encoder:
        encoded = await encoder.encode_texts(["word " * 50, "short"], kind=QUERY)
        same = await encoder.encode_texts(["word " * 8], kind=QUERY)
    assert encoded.truncated == {0}
    assert encoded.tokens == (8, 1)
    np.testing.assert_array_equal(encoded.vectors[0], same.vectors[0])


async def test_a_text_that_is_not_unicode_fails_alone():
    async with batcher.Batcher(fake()) as encoder:
        encoded = await encoder.encode_texts(["fine", "a\ud800b"], kind=DOCUMENT)
    assert {index: error.reason for index, error in encoded.failures.items()} == {1: reasons.Reason.UNPARSABLE}


async def test_no_texts_give_no_rows():
    async with batcher.Batcher(fake()) as encoder:
        encoded = await encoder.encode_texts([], kind=QUERY)
    assert encoded.vectors.shape == (0, 8)


async def test_a_query_overtakes_the_documents():
    embedder = Gated()

    class OnlyDocumentsWait(Gated):
        async def embed(self, passages, kind):
            return await (embedder if kind is DOCUMENT else fake()).embed(passages, kind)

    async with batcher.Batcher(OnlyDocumentsWait()) as encoder:
        bulk = asyncio.create_task(encoder.encode_texts(["word"] * 500, kind=DOCUMENT))
        await settled()
        assert np.isfinite((await encoder.encode_texts(["a query"], kind=QUERY)).vectors).all()
        assert not bulk.done()
        embedder.gate.set()
        await bulk


async def test_another_owners_passage_waits_for_a_batch_and_not_for_the_bulk():
    embedder = Gated()
    async with batcher.Batcher(embedder, limits=batcher.Limits(budget_tokens=256)) as encoder:
        bulk = asyncio.create_task(encoder.encode_texts(["word " * 100] * 200, kind=DOCUMENT, owner="big"))
        await settled()
        single = asyncio.create_task(encoder.encode_texts(["single"], kind=DOCUMENT, owner="small"))
        await settled()
        embedder.gate.set()
        await asyncio.gather(single, bulk)
    assert len(embedder.batches) > 50
    assert embedder.batches.index(["single"]) == 1


async def test_owners_take_turns_in_a_window():
    embedder = Gated()
    async with batcher.Batcher(embedder, limits=batcher.Limits(window_passages=4)) as encoder:
        await asyncio.gather(
            *(encoder.encode_texts([name] * 6, kind=DOCUMENT, owner=name) for name in ("one", "two")), release(embedder)
        )
    assert [sorted(batch) for batch in embedder.batches] == [["one", "one", "two", "two"]] * 3


async def release(embedder):
    await settled()
    embedder.gate.set()


async def test_callers_wait_while_the_queue_is_full():
    embedder = Gated()
    async with batcher.Batcher(embedder, limits=batcher.Limits(waiting_passages=10)) as encoder:
        call = asyncio.create_task(encoder.encode_texts(["text"] * 50, kind=DOCUMENT))
        await settled()
        assert encoder.figures()[DOCUMENT].waiting_passages == 10
        embedder.gate.set()
        assert not (await call).failures
        assert encoder.figures()[DOCUMENT].waiting_passages == 0


async def test_what_waits_is_bounded_in_bytes():
    embedder = Gated(max_tokens=4096)
    async with batcher.Batcher(embedder, limits=batcher.Limits(waiting_bytes=20_000)) as encoder:
        call = asyncio.create_task(encoder.encode_texts(["word " * 1000] * 6, kind=DOCUMENT))
        await settled()
        assert encoder.figures()[DOCUMENT].waiting_passages == 3
        embedder.gate.set()
        assert not (await call).failures


async def test_a_caller_that_will_not_wait_is_refused_when_the_queue_is_full():
    embedder = Gated()
    async with batcher.Batcher(embedder, limits=batcher.Limits(waiting_passages=2)) as encoder:
        call = asyncio.create_task(encoder.encode_texts(["text"] * 2, kind=DOCUMENT))
        await settled()
        with pytest.raises(errors.TransientError) as caught:
            await encoder.encode_texts(["one more"], kind=DOCUMENT, wait=False)
        assert caught.value.reason is reasons.Reason.OVERLOADED
        embedder.gate.set()
        await call


async def test_a_cancelled_caller_leaves_nothing_behind():
    embedder = Gated()
    async with batcher.Batcher(embedder, limits=batcher.Limits(waiting_passages=10)) as encoder:
        first = asyncio.create_task(encoder.encode_texts(["first"], kind=DOCUMENT))
        await settled()
        second = asyncio.create_task(encoder.encode_texts(["second"] * 50, kind=DOCUMENT))
        await settled()
        second.cancel()
        await settled()
        embedder.gate.set()
        await first
        await settled()
        assert encoder.figures()[DOCUMENT].waiting_passages == 0
    assert embedder.batches == [["first"]]


async def test_closing_ends_every_call_that_still_waits():
    embedder = Gated()
    async with batcher.Batcher(embedder) as encoder:
        call = asyncio.create_task(encoder.encode_texts(["text"], kind=DOCUMENT))
        await settled()
    with pytest.raises(errors.TransientError) as caught:
        await call
    assert caught.value.reason is reasons.Reason.SHUTTING_DOWN


async def test_a_closed_batcher_refuses():
    async with batcher.Batcher(fake()) as encoder:
        pass
    with pytest.raises(errors.TransientError):
        await encoder.encode_texts(["text"], kind=DOCUMENT)


async def test_an_embedder_with_a_defect_fails_the_call_instead_of_hanging_it():
    def defect(_):
        raise ZeroDivisionError

    async with batcher.Batcher(fake(defect)) as encoder:
        with pytest.raises(ZeroDivisionError):
            await encoder.encode_texts(["text"], kind=DOCUMENT)
        with pytest.raises(errors.TransientError):
            await encoder.encode_texts(["text"], kind=DOCUMENT)


class Slow(memory.MemoryEmbedder):
    """Takes its time on the clock alone: 0.2 ms for a padded token."""

    def __init__(self, clock) -> None:
        super().__init__(memory.spec_of())
        self._clock = clock

    async def embed(self, passages, kind):
        self._clock.offset += 0.0002 * 16 * len(passages)
        return await super().embed(passages, kind)


async def test_batches_take_no_longer_than_they_may():
    clock = _Clock(asyncio.get_running_loop())
    try:
        async with batcher.Batcher(Slow(clock), limits=batcher.Limits(bulk_seconds=0.1)) as encoder:
            await encoder.encode_texts(["word"] * 400, kind=DOCUMENT)
            figures = encoder.figures()[DOCUMENT]
    finally:
        clock.restore()
    assert 400 <= figures.budget_tokens <= 520
    assert figures.tokens_per_second > 0


async def test_batches_are_short_while_queries_come():
    clock = _Clock(asyncio.get_running_loop())
    limits = batcher.Limits(batch_seconds=0.06, bulk_seconds=1.0)
    try:
        async with batcher.Batcher(Slow(clock), limits=limits) as encoder:
            await encoder.encode_texts(["word"] * 400, kind=DOCUMENT)
            alone = encoder.figures()[DOCUMENT].budget_tokens
            await encoder.encode_texts(["a query"], kind=QUERY)
            await encoder.encode_texts(["word"] * 400, kind=DOCUMENT)
            beside = encoder.figures()[DOCUMENT].budget_tokens
            clock.offset += 60
            await encoder.encode_texts(["word"] * 400, kind=DOCUMENT)
            after = encoder.figures()[DOCUMENT].budget_tokens
    finally:
        clock.restore()
    assert beside <= 0.06 / 0.0002 < alone <= after


class _Clock:
    """Adds an offset to the running loop's time."""

    def __init__(self, loop) -> None:
        self._loop, self._time, self.offset = loop, loop.time, 0.0
        loop.time = lambda: self._time() + self.offset

    def restore(self) -> None:
        self._loop.time = self._time


async def test_ids_of_the_splitter_are_taken_as_they_are():
    embedder = fake()
    async with batcher.Batcher(embedder) as encoder:
        encoded = await encoder.encode([embedders.Passage("text", array("I", [1, 2, 3]))], kind=DOCUMENT)
    assert encoded.tokens == (3,)


async def test_the_figures_tell_how_full_the_batches_were():
    async with batcher.Batcher(fake()) as encoder:
        await encoder.encode_texts(["one two three four"] * 4, kind=DOCUMENT)
        figures = encoder.figures()[DOCUMENT]
    assert figures.fill == (4 + 2) / 16


def test_on_a_virtual_clock_the_same_seed_makes_the_same_batches():
    def history(seed):
        made = loop.VirtualLoop(random.Random(seed))
        embedder = Gated()

        async def several():
            async with batcher.Batcher(embedder, limits=batcher.Limits(window_passages=8)) as encoder:
                embedder.gate.set()
                await asyncio.gather(
                    *(
                        encoder.encode_texts([f"{name} {n}" for n in range(5)], kind=DOCUMENT, owner=name)
                        for name in "abc"
                    )
                )

        try:
            made.run_until_complete(several())
        finally:
            made.close()
        return embedder.batches

    assert history(1) == history(1)
    assert any(history(seed) != history(1) for seed in range(2, 9))
