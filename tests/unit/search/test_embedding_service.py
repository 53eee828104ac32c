"""Vectors on request: shorter ones where the model allows it, a refusal in time where the encoder is full."""

import asyncio
import dataclasses

import numpy as np
import pytest

from bloomweaver.adapters.embedders import memory
from bloomweaver.domain import errors, models, reasons
from bloomweaver.encoding import batcher
from bloomweaver.search import embeddings


class Encoders:
    def __init__(self, encoder) -> None:
        self._encoder = encoder

    def listed(self):
        return []

    async def batcher(self, model):
        return self._encoder


def nested(*, shorter=(4, 2)):
    """A model whose vectors may be cut."""
    return memory.MemoryEmbedder(dataclasses.replace(memory.spec_of(), shorter=shorter))


async def embed(encoder, inputs, **wishes):
    asked = {"model": "mem", "kind": models.Kind.DOCUMENT, "owner": "t", **wishes}
    return await embeddings.EmbeddingService(Encoders(encoder)).embed(inputs, **asked)


async def test_a_shorter_vector_is_the_beginning_of_the_whole_one_and_of_unit_norm():
    async with batcher.Batcher(nested()) as encoder:
        whole = (await embed(encoder, ["one two"])).vectors[0]
        short = (await embed(encoder, ["one two"], dimension=4)).vectors[0]
    assert short.dtype == np.float32
    np.testing.assert_allclose(short, whole[:4] / np.linalg.norm(whole[:4]), rtol=1e-5)


@pytest.mark.parametrize(("shorter", "named"), [((4, 2), "8 dimensions or 2, 4"), ((), "8 dimensions and no others")])
async def test_a_length_that_the_model_does_not_allow_is_refused_with_those_that_it_does(shorter, named):
    async with batcher.Batcher(nested(shorter=shorter)) as encoder:
        with pytest.raises(errors.Refusal, match=named) as caught:
            await embed(encoder, ["one"], dimension=3)
    assert caught.value.pointers[0][0] == "/dimensions"


async def test_a_full_encoder_asks_to_come_again_and_lets_nobody_wait():
    gate = asyncio.Event()

    class Held(memory.MemoryEmbedder):
        async def embed(self, passages, kind):
            await gate.wait()
            return await super().embed(passages, kind)

    async with batcher.Batcher(Held(memory.spec_of()), limits=batcher.Limits(waiting_passages=2)) as encoder:
        first = asyncio.create_task(embed(encoder, ["a", "b"]))
        for _ in range(20):
            await asyncio.sleep(0)
        with pytest.raises(errors.TransientError) as caught:
            await embed(encoder, ["c"])
        gate.set()
        await first
    assert caught.value.reason is reasons.Reason.RATE_LIMITED
    assert caught.value.retry_after_seconds >= 1
