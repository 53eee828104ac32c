"""The embedders port's contract, run against every runtime that is installed."""

import asyncio
from pathlib import Path

import pytest

from bloomweaver.adapters.embedders import loading, memory
from bloomweaver.domain import models
from bloomweaver.ports import embedders
from bloomweaver.testing.contracts import embedders as contract
from tests.support import tiny_models


def opened(url: str, models_dir: Path) -> embedders.Embedder:
    return asyncio.run(loading.open_embedder(url, models_dir=models_dir, threads=2))


class TestMemory(contract.EmbedderContract):
    @pytest.fixture
    def embedder(self) -> embedders.Embedder:
        return memory.MemoryEmbedder(memory.spec_of(dimension=32))


class TestMemoryWithAPrefix(contract.EmbedderContract):
    @pytest.fixture
    def embedder(self) -> embedders.Embedder:
        return memory.MemoryEmbedder(memory.spec_of(dimension=32, prefix="query: "))


@pytest.fixture(scope="module", params=["openvino", "onnx"])
def default_model(request, tmp_path_factory):
    embedder = opened(f"{request.param}://all-minilm-l6-v2", tmp_path_factory.mktemp("models"))
    yield embedder
    asyncio.run(embedder.aclose())


class TestTheDefaultModel(contract.EmbedderContract):
    @pytest.fixture
    def embedder(self, default_model):
        return default_model

    async def test_close_meanings_are_closer_than_far_ones(self, embedder):
        texts = ["How do I reset my password?", "Steps to recover a lost login", "Zebras graze under acacias"]
        question, answer, far = await embedder.embed(contract.passages(embedder, texts), models.Kind.DOCUMENT)
        assert float(question @ answer) > float(question @ far) + 0.2


class TestAModelWithClsPoolingAndPrefixes(contract.EmbedderContract):
    """The shape of bge: what the default model does not exercise."""

    @pytest.fixture(params=["openvino", "onnx"])
    def embedder(self, request, tmp_path):
        tiny_models.write(tmp_path / "tiny", pooling="cls", prompts={"query": "find this: ", "document": "passage: "})
        embedder = opened(f"{request.param}://tiny", tmp_path)
        yield embedder
        asyncio.run(embedder.aclose())
