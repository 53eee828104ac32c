import re

import pydantic
import pytest
from starlette.requests import Request
from starlette.responses import Response

from bloomweaver.domain import explanations
from bloomweaver.domain.reasons import Reason
from bloomweaver.runtime.web import answers, bodies, paths, problems
from tests.support import golden, web

HEAD = """\
# Reasons

One word says why, everywhere: in `reason` of a problem and of a document, in `bloomweaver why`, in log lines and
metric labels, and (as `CamelCase`) in conditions of Kubernetes resources. Words are added, never changed.
A running server shows this list at `/docs/reasons`. `make golden-update` writes this page.

| Reason | HTTP | What it means | What to do |
| --- | --- | --- | --- |
"""


class Part(bodies.Body):
    name: str


class Whole(bodies.Body):
    parts: tuple[Part, ...]


class Made(pydantic.BaseModel):
    id: str


def documented():
    router = paths.router()

    @router.put(
        "/v1/wholes/{name:segment}",
        openapi_extra=bodies.operation(Whole),
        responses={201: {"model": Made}},
        status_code=201,
    )
    async def put_whole(request: Request, name: str) -> Response:
        """Make a whole."""
        return answers.as_json({})

    return web.stack(router)


async def fetched(path):
    async with documented().client() as client:
        return await client.get(path)


async def test_bodies_that_routes_read_themselves_are_in_the_document():
    document = (await fetched("/openapi.json")).json()
    operation = document["paths"]["/v1/wholes/{name}"]["put"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/Whole"}
    assert {"Whole", "Part", "Made", "Problem"} <= set(document["components"]["schemas"])


async def test_every_reference_of_the_document_leads_somewhere():
    answer = await fetched("/openapi.json")
    schemas = answer.json()["components"]["schemas"]
    for name in re.findall(r'"\$ref":"#/components/schemas/([^"]+)"', answer.text):
        assert name in schemas
    assert "HTTPValidationError" not in answer.text
    assert "$defs" not in answer.text


async def test_errors_are_documented_as_the_problems_that_they_are():
    operation = (await fetched("/openapi.json")).json()["paths"]["/v1/wholes/{name}"]["put"]
    assert "422" not in operation["responses"]
    assert list(operation["responses"]["default"]["content"]) == ["application/problem+json"]


async def test_the_document_is_the_same_at_every_start():
    assert (await fetched("/openapi.json")).text == (await fetched("/openapi.json")).text


@pytest.mark.parametrize("path", ["/docs", "/docs/assets/docs.js", "/docs/assets/docs.css", "/docs/reasons/too_large"])
async def test_the_reader_loads_nothing_from_elsewhere(path):
    answer = await fetched(path)
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"https?://|(src|href)=\"//|@import|innerHTML|insertAdjacentHTML|eval\(", answer.text)
    assert not re.search(r"<script(?! src=)|<style|\son\w+=|\sstyle=", answer.text)


@pytest.mark.parametrize(
    "path", ["/docs/assets/..%2fdocs.html", "/docs/assets/x.js", "/docs/reasons/x", "/docs/reasons/%3Cb%3E"]
)
async def test_other_pages_do_not_exist(path):
    assert (await fetched(path)).status_code == 404


@pytest.mark.parametrize("reason", Reason)
async def test_every_reason_has_a_page_with_its_meaning_and_what_to_do(reason):
    explanation = explanations.of(reason)
    assert len(explanation.meaning) > 10
    assert len(explanation.next) > 10


async def test_the_type_of_a_problem_leads_to_its_page():
    problem = (await fetched("/nowhere")).json()
    page = await fetched(problem["type"])
    assert page.status_code == 200
    assert "not_found" in page.text
    listed = (await fetched("/docs/reasons")).text
    assert all(f"/docs/reasons/{reason.value}" in listed for reason in Reason)


def test_the_reference_page_of_reasons_is_current():
    rows = []
    for reason in Reason:
        status = str(problems.TABLE[reason][0]) if reason in problems.TABLE else ""
        explanation = explanations.of(reason)
        rows.append(f"| `{reason.value}` | {status} | {explanation.meaning} | {explanation.next} |")
    golden.check("../../docs/reference/reasons.md", HEAD + "\n".join(rows) + "\n")
