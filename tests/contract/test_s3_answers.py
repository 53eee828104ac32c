"""What S3's adapter makes of answers that no server here gives: another region, another account, half a delete."""

import asyncio
import contextlib
import dataclasses

import pytest

from bloomweaver.adapters.blobs import s3
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from tests.support import aws

DATE = "Wed, 01 Apr 2026 12:00:00 GMT"


@dataclasses.dataclass
class Answer:
    """status 0: the connection closes instead."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = dataclasses.field(default_factory=dict)


def refusal(status, code, *, extra=""):
    return Answer(status, f"<Error><Code>{code}</Code><Message>Because.</Message>{extra}</Error>")


def listing(*, modified="2026-04-01T11:59:00.000Z"):
    return Answer(
        body=f"<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>p/dep/a</Key><Size>5</Size>"
        f"<LastModified>{modified}</LastModified></Contents></ListBucketResult>"
    )


class ScriptedS3:
    """Gives its answers one after another, the last one for ever; remembers what was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.bodies = []

    async def serve(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lengths = [
                    line.split(":")[1] for line in head.split("\r\n") if line.lower().startswith("content-length")
                ]
                if "100-continue" in head.lower():
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                self.bodies.append(await reader.readexactly(int(lengths[0]) if lengths else 0))
                self.asked.append(head)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if not answer.status:
                    break
                body = "" if head.startswith("HEAD") else answer.body
                told = {"Date": DATE, "Content-Length": str(len(body))} | answer.headers
                lines = [f"HTTP/1.1 {answer.status} Told", *(f"{name}: {value}" for name, value in told.items())]
                writer.write("\r\n".join([*lines, "", body]).encode())
                await writer.drain()
        writer.close()
        await writer.wait_closed()


@pytest.fixture
def opening(tmp_path):
    @contextlib.asynccontextmanager
    async def opening(script, url="s3://bucket/p", **settings):
        server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        file = aws.credentials_file(tmp_path)
        given = {"region": "us-east-1", "endpoint": endpoint, "credentials_file": file} | settings
        async with server, s3.open_blobs(aws.url(url, **given)) as blobs:
            yield blobs

    return opening


async def refused(opening, *answers, **settings):
    with pytest.raises(errors.ConfigurationError) as raised:
        async with opening(ScriptedS3(*answers), **settings):
            pass
    return raised.value


async def test_a_bucket_of_another_region_is_named_with_its_region(opening):
    error = await refused(opening, listing(), Answer(headers={"x-amz-bucket-region": "eu-west-1"}))
    assert error.detail == "The bucket bucket is in eu-west-1, not in us-east-1. Write s3://bucket/…?region=eu-west-1."
    assert await refused(opening, listing(), Answer(403, headers={"x-amz-bucket-region": "eu-west-1"})) is not None


async def test_credentials_that_may_list_one_prefix_only_are_enough(opening):
    for told in ({}, {"x-amz-bucket-region": "us-east-1"}):
        async with opening(ScriptedS3(listing(), Answer(403, headers=told), listing())) as blobs:
            assert [blob.key async for blob in blobs.list("")] == ["dep/a"]


async def test_a_bucket_of_another_account_is_named(opening):
    error = await refused(opening, refusal(403, "AccessDenied"))
    assert "belongs to another account, or these credentials may not list it" in error.detail
    error = await refused(opening, refusal(403, "AccessDenied"), owner="123456789012")
    assert "is not in account 123456789012" in error.detail


async def test_every_request_says_whose_bucket_it_expects(opening):
    script = ScriptedS3(listing(), Answer())
    async with opening(script, owner="123456789012") as blobs:
        await blobs.put("dep/a", b"x")
    assert all("x-amz-expected-bucket-owner: 123456789012" in asked.lower() for asked in script.asked)


@pytest.mark.parametrize(
    "code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"]
)
async def test_credentials_that_s3_does_not_take_are_refused_in_one_line(opening, code):
    error = await refused(opening, refusal(403, code))
    assert error.reason is Reason.CREDENTIALS_REFUSED
    assert code in error.detail
    assert "\n" not in error.detail


async def test_an_age_is_told_by_the_clock_of_the_store(opening):
    async with opening(ScriptedS3(listing(), Answer(), listing())) as blobs:
        (found,) = [blob async for blob in blobs.list("")]
    assert (found.key, found.size_bytes, found.age_seconds) == ("dep/a", 5, 60.0)


async def test_a_put_whose_answer_is_lost_and_that_is_there_succeeded(opening):
    script = ScriptedS3(listing(), Answer(), Answer(0), refusal(412, "PreconditionFailed"), Answer(body="data"))
    async with opening(script) as blobs:
        await blobs.put("dep/a", b"data")
    assert [asked.split()[0] for asked in script.asked] == ["GET", "HEAD", "PUT", "PUT", "GET"]


async def test_an_upload_is_given_up_until_s3_knows_it_no_more(opening):
    begun = Answer(body="<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
    sent, denied = Answer(headers={"ETag": '"e"'}), refusal(403, "AccessDenied")
    # After the first abort a part landed that had been on its way; the second meets what may not be retried.
    aborted, refusing, gone = Answer(204), refusal(400, "Strange"), refusal(404, "NoSuchUpload")
    script = ScriptedS3(listing(), Answer(), begun, sent, sent, denied, aborted, refusing, gone, Answer(204))
    async with opening(script) as blobs:
        with pytest.raises(errors.ConfigurationError):
            await blobs.put("dep/a", b"x" * (s3.PART_BYTES + 1))
    deleted = [asked.split()[1] for asked in script.asked if asked.startswith("DELETE")]
    assert len(deleted) == 3
    assert all("uploadId=u" in asked for asked in deleted)


async def test_what_s3_failed_to_delete_is_deleted_again_and_nothing_else(opening):
    failed = Answer(
        body="<DeleteResult><Error><Key>p/dep/b</Key><Code>InternalError</Code></Error>"
        "<Error><Key>p/dep/c</Key><Code>NoSuchKey</Code></Error></DeleteResult>"
    )
    script = ScriptedS3(listing(), Answer(), failed, Answer(body="<DeleteResult/>"))
    async with opening(script) as blobs:
        await blobs.delete(["dep/a", "dep/b", "dep/c"])
    assert b"dep/a" in script.bodies[-2]
    assert b"dep/a" not in script.bodies[-1]
    assert b"dep/b" in script.bodies[-1]


async def test_what_cannot_be_deleted_is_an_outage_or_a_missing_permission(opening):
    for code, kind in (("InternalError", errors.TransientError), ("AccessDenied", errors.ConfigurationError)):
        failed = Answer(body=f"<DeleteResult><Error><Key>p/a</Key><Code>{code}</Code></Error></DeleteResult>")
        async with opening(ScriptedS3(listing(), Answer(), failed)) as blobs:
            with pytest.raises(kind, match=code):
                await blobs.delete(["a"])


async def test_an_outage_ends_after_a_few_attempts_as_one_of_ours(opening):
    for away in (refusal(503, "SlowDown"), refusal(500, "InternalError"), Answer(0)):
        script = ScriptedS3(listing(), Answer(), away)
        async with opening(script) as blobs:
            with pytest.raises(errors.TransientError) as raised:
                await blobs.get("dep/a")
        assert raised.value.reason is Reason.BLOBS_UNAVAILABLE
        assert 5 <= len(script.asked) <= 8  # a closed connection may be the client's own mistake: it looks twice


async def test_a_blob_whose_bytes_changed_on_the_way_is_not_given(opening):
    wrong = Answer(body="dato", headers={"x-amz-checksum-sha256": "OnvpgV8ugsF+/W4BrUqHrs7lC1vLYTnO9RM8yjmzs2k="})
    async with opening(ScriptedS3(listing(), Answer(), wrong)) as blobs:
        with pytest.raises(errors.TransientError):
            await blobs.get("dep/a")
