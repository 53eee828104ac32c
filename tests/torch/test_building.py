"""An int8 model is built by the real tool, holds integers, and is refused until it was measured."""

import asyncio
from importlib import util

import pytest

from bloomweaver.adapters import opening
from bloomweaver.adapters.embedders import loading
from bloomweaver.domain import errors, models
from bloomweaver.workbench import main as workbench
from tests.support import tiny_models

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore"),  # of the tool's own libraries among themselves
    pytest.mark.skipif(
        util.find_spec("nncf") is None,
        reason="not run: nncf is not installed here (make test-torch has an environment for it)",
    ),
]


@pytest.fixture
def place(tmp_path):
    (tmp_path / "texts").mkdir()
    for number in range(6):
        text = "\n\n".join(
            f"# The word {number} of {part}\n\n" + "Is the queue full of changes? " * 5 for part in range(9)
        )
        (tmp_path / "texts" / f"{number}.md").write_text(text, encoding="utf-8")
    tiny_models.write(tmp_path / "models" / "tiny")
    return tmp_path


async def test_a_built_model_is_refused_until_it_was_measured(place):
    texts, folder = workbench.Texts(folder=place / "texts"), place / "models"
    made = await workbench.build("tiny", models_dir=folder, texts=texts)
    assert made == folder / "tiny-int8"
    spec, _ = await opening.resolved_model("tiny-int8", models_dir=folder)
    assert spec.precision is models.Precision.INT8
    with pytest.raises(errors.ConfigurationError, match="nobody has measured"):
        await loading.open_embedder("tiny-int8", models_dir=folder, threads=1)
    found, record = await workbench.verify("tiny-int8", models_dir=folder, texts=texts, most=500)
    assert record.is_file()
    assert found.cosine_mean > 0.5
    opened = opening.open_unproven("tiny-int8", models_dir=folder, threads=1)
    await (await asyncio.wait_for(opened, 60)).aclose()
