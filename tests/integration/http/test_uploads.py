"""POST /v1/uploads: files in forms."""

import asyncio

from tests.support import served

UPLOADS = "/v1/uploads"


async def upload(
    api: served.Served, data: bytes = b"# Hi", name: str = "notes.md", kind: str = "text/markdown", **more
):
    fields = more.pop("fields", {})
    return await api.post(UPLOADS, files={"file": (name, data, kind)}, data=fields, **more)


async def test_a_file_becomes_a_document_named_like_it():
    async with served.opened() as api:
        answer = await upload(api)
        assert (answer.status_code, answer.json()["outcome"], answer.json()["document_id"]) == (
            202,
            "created",
            "notes.md",
        )
        assert (await api.get(f"{served.HANDBOOK}/notes.md")).json()["media_type"] == "text/markdown"


async def test_fields_beside_the_file_say_what_an_event_says():
    async with served.opened() as api:
        await api.put("/v1/collections/hr", json={"ordering": "source"})
        fields = {
            "collection": "hr", "document_id": "a/b", "title": "T", "url": "https://u", "source_version": "7",
            "metadata": '{"team": "hr", "tags": ["x"]}', "origin": "disk",
        }  # fmt: skip
        answer = await upload(api, fields=fields)
        assert answer.status_code == 202
        body = (await api.get("/v1/collections/hr/documents/a%2Fb")).json()
        assert (body["title"], body["metadata"], body["source_version"]) == ("T", {"team": "hr", "tags": ["x"]}, "7")


async def test_an_upload_can_be_waited_for_and_sent_again():
    async with served.opened() as api:
        key = {"idempotency-key": "k"}
        waiting = asyncio.create_task(
            api.post(UPLOADS + "?wait=searchable", files={"file": ("a.txt", b"hello", "text/plain")}, headers=key)
        )
        await api.until_stored()
        await api.settle()
        assert ((await waiting).status_code, (await waiting).json()["state"]) == (200, "searchable")
        again = await upload(api, b"hello", "a.txt", "text/plain", headers=key)
        assert again.json()["outcome"] == "duplicate"


async def test_the_type_is_guessed_from_the_name_only_where_nothing_is_said():
    async with served.opened() as api:
        await upload(api, name="page.HTML", kind="application/octet-stream")
        assert (await api.get(f"{served.HANDBOOK}/page.HTML")).json()["media_type"] == "text/html"
        answer = await upload(api, name="page.md", kind="application/pdf")
        assert served.problem(answer) == (415, "unsupported_media_type", ["/file"])


async def test_uploads_that_cannot_be_are_refused_and_store_nothing():
    async with served.opened() as api:
        cases = [
            (await upload(api, b"\xff\xfe"), 422, "unparsable"),
            (await upload(api, b"  "), 422, "empty_text"),
            (await upload(api, fields={"colour": "red"}), 422, "invalid_request"),
            (await upload(api, fields={"metadata": "{"}), 400, "malformed_json"),
            (await upload(api, fields={"metadata": "[]"}), 422, "invalid_metadata"),
            (await upload(api, fields={"source_version": "x"}), 422, "invalid_request"),
            (await upload(api, fields={"document_id": "../a"}), 422, "invalid_document_id"),
            (await upload(api, fields={"collection": "nowhere"}), 404, "collection_not_found"),
            (await api.post(UPLOADS, files={"other": ("a.md", b"x", "text/markdown")}), 422, "invalid_request"),
            (await api.post(UPLOADS, files={"title": (None, "t")}), 422, "invalid_request"),
            (await api.post(UPLOADS, json={}), 415, "unsupported_media_type"),
            (
                await api.post(UPLOADS, content=b"x", headers={"content-type": "multipart/form-data"}),
                422,
                "invalid_request",
            ),
            (
                await api.post(UPLOADS, content=b"x", headers={"content-type": "multipart/form-data; boundary=b"}),
                422,
                "invalid_request",
            ),
            (await upload(api, b"x" * (12 * 1024 * 1024)), 413, "too_large"),
            (await upload(api, b"x" * (11 * 1024 * 1024)), 413, "too_large"),
        ]
        for answer, status, reason in cases:
            assert served.problem(answer)[:2] == (status, reason), answer.text
        assert await api.stored() == []
