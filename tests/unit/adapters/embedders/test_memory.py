"""The in-memory embedder: deterministic, and near enough to meaning to test search with."""

import pytest

from bloomweaver.adapters.embedders import memory
from bloomweaver.domain import errors, models, reasons
from bloomweaver.ports import embedders


async def embedded(embedder, *texts):
    tokens = embedder.tokenizer.encode(texts)
    passages = [embedders.Passage(text, each.ids) for text, each in zip(texts, tokens, strict=True)]
    return await embedder.embed(passages, models.Kind.DOCUMENT)


async def test_two_instances_agree_on_every_text():
    one, other = memory.MemoryEmbedder(memory.spec_of()), memory.MemoryEmbedder(memory.spec_of())
    assert (await embedded(one, "the same text") == await embedded(other, "the same text")).all()


async def test_shared_words_bring_texts_closer():
    embedder = memory.MemoryEmbedder(memory.spec_of(dimension=64))
    one, other, far = await embedded(embedder, "the queue is empty", "the queue is full", "zebras graze quietly")
    assert float(one @ other) > float(one @ far) + 0.3


async def test_the_fault_sees_each_batch_before_it_is_embedded():
    def fault(passages):
        raise errors.PermanentError(reasons.Reason.EMBEDDING_FAILED, passages[0].text)

    embedder = memory.MemoryEmbedder(memory.spec_of(), fault=fault)
    with pytest.raises(errors.PermanentError, match="poison"):
        await embedded(embedder, "poison")
    embedder.fault = None
    assert (await embedded(embedder, "poison")).shape == (1, 8)


def test_models_of_other_shapes_are_other_spaces():
    specs = [memory.spec_of(), memory.spec_of(dimension=16), memory.spec_of(prefix="query: ")]
    assert len({models.space_of(spec) for spec in specs}) == len(specs)


def test_tokens_are_words_and_signs_with_their_offsets():
    (tokens,) = memory.WordTokenizer().encode(["Größe 😀, ja"])
    assert list(zip(tokens.starts, tokens.ends, strict=True)) == [(0, 5), (6, 7), (7, 8), (9, 11)]
