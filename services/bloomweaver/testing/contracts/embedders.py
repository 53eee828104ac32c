"""What `ports.embedders` promises, as tests: subclass `EmbedderContract` and supply the fixture `embedder`.

The promises hold for any model: nothing here knows a dimension, a limit or a vocabulary.
"""

from __future__ import annotations

import asyncio
import itertools
from array import array
from collections.abc import Sequence

import numpy as np
import pytest

from bloomweaver.domain import errors, models, reasons
from bloomweaver.ports import embedders

TEXTS = (
    "The reconciler heals what the workers left behind.",
    "A tombstone stays until every version of its document is gone.",
    "naïve façade, größer, Ελληνικά, русский, 漢字かな交じり文",
    "emoji 😀👩‍👩‍👧 and a zero\u200bwidth space",
    "def add(a, b):\n    return a + b  # adds",
    "x",
)


def passages(embedder: embedders.Embedder, texts: Sequence[str]) -> list[embedders.Passage]:
    """The texts, tokenised by the embedder's own tokenizer."""
    tokens = embedder.tokenizer.encode(texts)
    return [embedders.Passage(text, each.ids) for text, each in zip(texts, tokens, strict=True)]


class EmbedderContract:
    """Every adapter passes these unchanged."""

    async def test_every_passage_has_a_row_of_the_dimension_in_float32(self, embedder: embedders.Embedder) -> None:
        vectors = await embedder.embed(passages(embedder, TEXTS), models.Kind.DOCUMENT)
        assert vectors.shape == (len(TEXTS), embedder.spec.dimension)
        assert vectors.dtype == np.float32

    async def test_vectors_are_of_unit_norm(self, embedder: embedders.Embedder) -> None:
        for kind in models.Kind:
            vectors = await embedder.embed(passages(embedder, TEXTS), kind)
            norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
            assert np.abs(norms - 1).max() <= 1e-5

    async def test_no_passages_give_no_rows(self, embedder: embedders.Embedder) -> None:
        vectors = await embedder.embed([], models.Kind.QUERY)
        assert vectors.shape == (0, embedder.spec.dimension)

    async def test_rows_come_in_the_order_of_the_passages(self, embedder: embedders.Embedder) -> None:
        forward = await embedder.embed(passages(embedder, TEXTS), models.Kind.DOCUMENT)
        backward = await embedder.embed(passages(embedder, TEXTS[::-1]), models.Kind.DOCUMENT)
        assert (forward * backward[::-1]).sum(axis=1).min() >= 0.9999

    async def test_a_vector_does_not_depend_on_its_batch(self, embedder: embedders.Embedder) -> None:
        together = await embedder.embed(passages(embedder, TEXTS), models.Kind.DOCUMENT)
        for row, text in enumerate(TEXTS):
            alone = await embedder.embed(passages(embedder, [text]), models.Kind.DOCUMENT)
            assert float(together[row] @ alone[0]) >= 0.9999

    async def test_a_text_without_tokens_has_a_vector(self, embedder: embedders.Embedder) -> None:
        vectors = await embedder.embed(passages(embedder, ["", " \n\t"]), models.Kind.DOCUMENT)
        assert np.isfinite(vectors).all()

    @pytest.mark.parametrize("text", ["\U0001f600\U0001f600\U0001f600", "\u200b", "\n\t ", "\ufffd"])
    async def test_a_text_of_nothing_but_signs_has_a_vector(self, embedder: embedders.Embedder, text: str) -> None:
        vectors = await embedder.embed(passages(embedder, [text]), models.Kind.DOCUMENT)
        assert np.isfinite(vectors).all()

    async def test_a_passage_that_fills_the_room_is_embedded(self, embedder: embedders.Embedder) -> None:
        for kind in models.Kind:
            vectors = await embedder.embed([_long(embedder, embedder.spec.room(kind))], kind)
            assert np.isfinite(vectors).all()

    async def test_a_passage_over_the_room_is_refused_and_not_truncated(self, embedder: embedders.Embedder) -> None:
        for kind in models.Kind:
            over = [*passages(embedder, TEXTS[:1]), _long(embedder, embedder.spec.room(kind) + 1)]
            with pytest.raises(errors.PermanentError) as caught:
                await embedder.embed(over, kind)
            assert caught.value.reason is reasons.Reason.TEXT_TOO_LONG

    async def test_a_prefix_tells_queries_from_documents(self, embedder: embedders.Embedder) -> None:
        query = await embedder.embed(passages(embedder, TEXTS[:1]), models.Kind.QUERY)
        document = await embedder.embed(passages(embedder, TEXTS[:1]), models.Kind.DOCUMENT)
        same = embedder.spec.query_prefix == embedder.spec.document_prefix
        assert (float(query[0] @ document[0]) >= 0.9999) is same

    async def test_both_kinds_may_be_asked_for_at_once(self, embedder: embedders.Embedder) -> None:
        batch = passages(embedder, TEXTS)
        expected = {kind: await embedder.embed(batch, kind) for kind in models.Kind}
        kinds = [*models.Kind] * 4
        found = await asyncio.gather(*(embedder.embed(batch, kind) for kind in kinds))
        for kind, vectors in zip(kinds, found, strict=True):
            assert (vectors * expected[kind]).sum(axis=1).min() >= 0.9999

    async def test_many_passages_in_one_call_are_all_embedded(self, embedder: embedders.Embedder) -> None:
        texts = [f"passage number {number}" for number in range(300)]
        vectors = await embedder.embed(passages(embedder, texts), models.Kind.DOCUMENT)
        assert np.isfinite(vectors).all()

    def test_the_space_is_that_of_the_spec(self, embedder: embedders.Embedder) -> None:
        assert embedder.space == models.space_of(embedder.spec)

    def test_token_offsets_rise_and_stay_within_the_text(self, embedder: embedders.Embedder) -> None:
        for text, tokens in zip(TEXTS, embedder.tokenizer.encode(TEXTS), strict=True):
            spans = list(zip(tokens.starts, tokens.ends, strict=True))
            assert len(spans) == len(tokens.ids)
            assert all(0 <= start <= end <= len(text) for start, end in spans)
            assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))

    def test_tokens_are_never_cut_off(self, embedder: embedders.Embedder) -> None:
        words = embedder.spec.max_tokens * 3
        (tokens,) = embedder.tokenizer.encode(["word " * words])
        assert len(tokens.ids) >= words

    def test_a_text_with_a_lone_surrogate_is_refused(self, embedder: embedders.Embedder) -> None:
        with pytest.raises(errors.PermanentError) as caught:
            embedder.tokenizer.encode(["fine", "a\ud800b"])
        assert caught.value.reason is reasons.Reason.UNPARSABLE


def _long(embedder: embedders.Embedder, tokens: int) -> embedders.Passage:
    (found,) = embedder.tokenizer.encode(["word " * tokens])
    ids = array("I", found.ids[:tokens])
    return embedders.Passage("word " * tokens, ids)
