"""The OpenAPI document is complete and only changes when somebody means it to."""

import json
import pathlib
import re

from tests.support import golden, served

BODIES = {
    "/v1/events", "/v1/search", "/v1/embeddings", "/v1/keys", "/v1/uploads", "/v1/dead-letters/redrive",
    "/v1/ingest/{ingest_id}",
}  # fmt: skip


async def test_the_openapi_document_is_the_golden_one():
    async with served.opened() as api:
        document = (await api.get("/openapi.json")).json()
        golden.check("openapi.json", json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


async def test_every_reference_in_the_document_leads_somewhere():
    async with served.opened() as api:
        text = (await api.get("/openapi.json")).text
        schemas = json.loads(text)["components"]["schemas"]
        missing = set(re.findall(r'"#/components/schemas/([^"]+)"', text)) - schemas.keys()
        assert missing == set()


async def test_every_operation_has_a_summary_an_answer_and_a_unique_id():
    async with served.opened() as api:
        paths = (await api.get("/openapi.json")).json()["paths"]
        operations = [(path, method, found) for path, methods in paths.items() for method, found in methods.items()]
        for path, method, found in operations:
            assert found["summary"], path
            assert found["description"], path
            assert any(status.startswith("2") for status in found["responses"]), (path, method)
            assert ("requestBody" in found) == (method in ("put", "patch") or (method == "post" and path in BODIES)), (
                path,
                method,
            )
        names = [found["operationId"] for _, _, found in operations]
        assert len(set(names)) == len(names)


async def test_every_route_is_on_the_reference_page():
    page = (pathlib.Path(__file__).parents[3] / "docs" / "reference" / "http.md").read_text(encoding="utf-8")
    async with served.opened() as api:
        paths = (await api.get("/openapi.json")).json()["paths"]
        assert [path for path in paths if path not in page] == []
