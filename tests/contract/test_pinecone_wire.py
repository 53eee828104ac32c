"""The wire fake of Pinecone answers as its description says, whatever it is sent."""

import time
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.generation import modes
from schemathesis.python import asgi
from schemathesis.specs.openapi import checks

from bloomweaver.testing.pinecone_wire import description, service, serving

SCHEMA = schemathesis.openapi.from_dict(description.document())
OPERATIONS = [(path, method) for path, methods in description.document()["paths"].items() for method in methods]
CHECKS = (
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.missing_required_header,
    checks.unsupported_method,
)


@pytest.fixture(scope="module")
def wire():
    held = service.Service(dimension=1, clock=time.monotonic)
    held.upsert({"vectors": [{"id": "a/1/b/0", "values": [1.0]}], "namespace": "there"}, size_bytes=100)
    application: Any = serving.application(held)
    with asgi.get_client(application) as client:
        yield client


@pytest.mark.parametrize("mode", list(modes.GenerationMode), ids=str)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_answers_are_as_described(path, method, mode, wire):
    operation = SCHEMA[path][method.upper()]

    @hypothesis.settings(max_examples=8, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(operation.as_strategy(generation_mode=mode))
    def answers(case):
        case.call_and_validate(session=wire, headers={"Api-Key": "any"}, checks=CHECKS)

    answers()
