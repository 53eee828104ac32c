import pathlib
from typing import Any

import pytest

from bloomweaver.adapters.embedders import loading
from bloomweaver.controller import resources, revisions, services
from bloomweaver.domain import models


def model(dimensions: int = 1024, **service: Any) -> resources.Model:
    body = {"name": "theirs", "dimensions": dimensions, "maxTokens": 512, "service": service}
    return resources.Model.model_validate(body)


SERVICES = [
    model(
        engine="HTTP", model="a b/c", endpoint="https://h:8443/v1", queryPrefix="q: ", revision="2", asksDimension=True
    ),
    model(engine="Ollama", model="nomic-embed-text:v1.5", endpoint="http://ollama:11434", documentPrefix="d & e: "),
    model(engine="Bedrock", model="amazon.titan-embed-text-v2:0", region="eu-central-1"),
]


@pytest.mark.parametrize("made", SERVICES, ids=lambda made: made.service.engine)
def test_embedder_and_controller_mean_the_same_space_and_the_same_model(made: resources.Model, tmp_path: pathlib.Path):
    assert made.service is not None
    told = loading.described(services.url_of(made, made.service), models_dir=tmp_path)
    assert models.space_of(told) == revisions.of(made).space
    assert (told.name, told.dimension, told.max_tokens) == ("theirs", 1024, 512)


def test_where_a_service_is_makes_no_new_revision_and_which_model_it_has_does():
    first, moved, other = (
        revisions.of(model(engine="HTTP", model=name, endpoint=endpoint)).hash
        for name, endpoint in (("m", "https://h/v1"), ("m", "http://i:81/v1"), ("n", "https://h/v1"))
    )
    assert first == moved != other


@pytest.mark.parametrize(("made", "port"), [*zip(SERVICES, (8443, 11434, 443), strict=True)])
def test_the_way_to_a_service_is_a_port(made: resources.Model, port: int):
    assert made.service is not None
    assert services.port_of(made.service) == port


def test_a_space_that_is_not_the_services_is_a_mismatch():
    made = SERVICES[0].model_copy(update={"space": "0" * 16})
    found = revisions.trouble_of(made, image_volumes=True)
    assert found is not None
    assert (found.mismatch, found.message[:17]) == (True, "spec.model.space:")
