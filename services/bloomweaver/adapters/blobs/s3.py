"""`s3://bucket/prefix`: one object per blob, its key below the prefix.

Invariants: an object is put only where none is (If-None-Match), with a checksum that S3 verifies, so that a blob is
never overwritten and never half there; where the answer to a put was lost, the repeat finds the same bytes and is
content. A put of many parts that fails leaves nothing behind but what the bucket's lifecycle rule removes.
"""

import asyncio
import base64
import contextlib
import datetime as dt
import email.utils
import hashlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bloomweaver.adapters.blobs import keys as blob_keys
from bloomweaver.adapters.engines.aws import addresses, clients, failures
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import blobs

SHAPE = "s3://bucket/prefix?region=…, e.g. s3://acme-bloom/prod?region=eu-central-1"
OPTIONS = ("kms_key", "owner")

PART_BYTES = 16 * 1024 * 1024
PARTS_AT_ONCE = 4
DELETED_AT_ONCE = 1000
DELETE_ATTEMPTS = 4
LEAST_BYTES_A_SECOND = 1024 * 1024
GET_SECONDS = 120.0
ABORT_SECONDS = 5.0
ABORT_ATTEMPTS = 4
PRESIGNED_MOST_BYTES = 5 * 1024**3

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ACCOUNT = re.compile(r"[0-9]{12}")
_TAKEN = ("PreconditionFailed", "412")
_MISSING = ("NoSuchKey",)
_ELSEWHERE = ("PermanentRedirect", "AuthorizationHeaderMalformed")
_UNUSABLE = ("NoSuchBucket", "AccessDenied", *_ELSEWHERE)


@dataclass(frozen=True, slots=True)
class PresignedUpload:
    """What whoever holds it may send, once, without credentials: `method` to `url` with exactly these headers."""

    method: str
    url: str
    headers: Mapping[str, str]


class S3Blobs:
    """See the module's docstring. request: what every request to the bucket carries."""

    def __init__(
        self,
        calls: clients.Calls,
        *,
        request: Mapping[str, str],
        prefix: str,
        kms_key: str | None = None,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._calls = calls
        self._request = dict(request)
        self._prefix = f"{prefix}/" if prefix else ""
        self._part_bytes = part_bytes
        self._encryption: dict[str, Any] = {}
        if kms_key is not None:
            self._encryption = {
                "ServerSideEncryption": "aws:kms",
                "SSEKMSKeyId": kms_key,
                "BucketKeyEnabled": True,
            }

    async def put(self, key: str, data: bytes) -> None:
        target = self._request | {"Key": self._name(key)}
        try:
            if len(data) > self._part_bytes:
                await self._put_parts(target, data)
            else:
                await self._put_whole(target, data)
        except failures.Refused as refused:
            held = await self._read(target)
            if held is None:
                detail = f"{self._calls.what} lost an upload on the way."
                raise errors.TransientError(Reason.BLOBS_UNAVAILABLE, detail) from refused
            if held != data:
                detail = (
                    f"{self._calls.what} holds other bytes under {target['Key']}, a key that was never used before. "
                    "Two deployments share the prefix: give each one its own."
                )
                raise errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail) from refused

    async def get(self, key: str) -> bytes:
        data = await self._read(self._request | {"Key": self._name(key)})
        if data is None:
            raise errors.RetryableError(Reason.BLOB_MISSING, f"no blob {key}")
        return data

    async def delete(self, keys: Sequence[str]) -> None:
        names = list(dict.fromkeys(self._name(key) for key in keys))
        for start in range(0, len(names), DELETED_AT_ONCE):
            await self._delete(names[start : start + DELETED_AT_ONCE])

    async def list(self, prefix: str) -> AsyncIterator[blobs.BlobInfo]:
        page: dict[str, Any] = self._request | {"Prefix": self._prefix + prefix}
        while True:
            answer = await self._calls.call("list_objects_v2", page)
            now = _date(answer)
            for found in answer.get("Contents") or ():
                age = max(0.0, (now - found["LastModified"]).total_seconds())
                yield blobs.BlobInfo(found["Key"].removeprefix(self._prefix), int(found["Size"]), age)
            if not answer.get("IsTruncated"):
                return
            page["ContinuationToken"] = answer["NextContinuationToken"]

    async def presigned_upload(self, key: str, *, size_bytes: int, expires_seconds: int) -> PresignedUpload:
        """Lets a client put a large file straight into the bucket: these many bytes, once, until it expires.

        Beside the port: other stores take uploads through us. It ends sooner where the pod's own credentials do.
        """
        if not 0 <= size_bytes <= PRESIGNED_MOST_BYTES:
            raise ValueError(f"one put takes up to {PRESIGNED_MOST_BYTES} bytes, not {size_bytes}")
        parameters = self._request | self._encryption | {"Key": self._name(key), "IfNoneMatch": "*"}
        parameters["ContentLength"] = size_bytes
        url = await self._calls.client.generate_presigned_url("put_object", parameters, ExpiresIn=expires_seconds)
        headers = {"If-None-Match": "*", "Content-Length": str(size_bytes)}
        if "ExpectedBucketOwner" in self._request:
            headers["x-amz-expected-bucket-owner"] = self._request["ExpectedBucketOwner"]
        if self._encryption:
            headers |= {
                "x-amz-server-side-encryption": "aws:kms",
                "x-amz-server-side-encryption-aws-kms-key-id": self._encryption["SSEKMSKeyId"],
                "x-amz-server-side-encryption-bucket-key-enabled": "true",
            }
        return PresignedUpload("PUT", str(url), headers)

    async def check(self) -> None:
        """ConfigurationError where the bucket cannot be used as the URL says. An outage is no reason not to start."""
        region = self._calls.region
        with contextlib.suppress(errors.TransientError):
            try:
                page = self._request | {"Prefix": self._prefix, "MaxKeys": 1}
                await self._calls.call("list_objects_v2", page, expected=_UNUSABLE)
            except failures.Refused as refused:
                raise self._unusable(refused) from refused
            actual = await self._actual_region() or region
            if actual != region:
                raise self._elsewhere(actual)

    async def _actual_region(self) -> str | None:
        """Where the bucket is. S3 says so too where it says no, to credentials that may list one prefix only."""
        try:
            told: Mapping[str, Any] = await self._calls.call("head_bucket", self._request, expected=("403",))
        except failures.Refused as refused:
            told = refused.response
        return _region_of(told)

    def _unusable(self, refused: failures.Refused) -> errors.ConfigurationError:
        bucket, owner = self._request["Bucket"], self._request.get("ExpectedBucketOwner")
        if refused.code == "NoSuchBucket":
            detail = f"There is no bucket {bucket}. Create it, or correct the URL."
            return errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail)
        if refused.code in _ELSEWHERE:
            return self._elsewhere(_region_of(refused.response))
        whose = f"is not in account {owner}" if owner else "belongs to another account"
        detail = f"The bucket {bucket} {whose}, or these credentials may not list it (s3:ListBucket)."
        return errors.ConfigurationError(Reason.CREDENTIALS_REFUSED, detail)

    def _elsewhere(self, actual: str | None) -> errors.ConfigurationError:
        bucket, wanted = self._request["Bucket"], self._calls.region
        place, right = actual or "another region", actual or "REGION"
        detail = f"The bucket {bucket} is in {place}, not in {wanted}. Write s3://{bucket}/…?region={right}."
        return errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail)

    def _name(self, key: str) -> str:
        return self._prefix + blob_keys.check(key)

    async def _read(self, target: Mapping[str, Any]) -> bytes | None:
        try:
            answer = await self._calls.call(
                "get_object",
                {**target, "ChecksumMode": "ENABLED"},
                seconds=GET_SECONDS,
                expected=_MISSING,
                reads="Body",
            )
        except failures.Refused:
            return None
        data: bytes = answer["Body"]
        return data

    async def _put_whole(self, target: Mapping[str, Any], data: bytes) -> None:
        digest = await _digest(data)
        request = {**target, **self._encryption, "Body": data, "IfNoneMatch": "*", "ChecksumSHA256": digest}
        await self._calls.call("put_object", request, seconds=_seconds(len(data)), expected=_TAKEN)

    async def _put_parts(self, target: Mapping[str, Any], data: bytes) -> None:
        begun = await self._calls.call(
            "create_multipart_upload", {**target, **self._encryption, "ChecksumAlgorithm": "SHA256"}
        )
        upload = {**target, "UploadId": begun["UploadId"]}
        try:
            done = await self._sent_parts(upload, data)
            await self._calls.call(
                "complete_multipart_upload",
                {**upload, "MultipartUpload": {"Parts": [*done]}, "IfNoneMatch": "*"},
                seconds=_seconds(len(data)),
                expected=(*_TAKEN, "NoSuchUpload"),  # the latter: completed, and the answer was lost
            )
        except BaseException:
            await asyncio.shield(asyncio.ensure_future(self._abort(upload)))
            raise

    async def _sent_parts(self, upload: Mapping[str, Any], data: bytes) -> Sequence[Mapping[str, Any]]:
        free = asyncio.Semaphore(PARTS_AT_ONCE)

        async def send(number: int, part: bytes) -> dict[str, Any]:
            async with free:
                digest = await _digest(part)
                request = {**upload, "PartNumber": number, "Body": part, "ChecksumSHA256": digest}
                answer = await self._calls.call("upload_part", request, seconds=_seconds(len(part)))
            return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": digest}

        starts = range(0, len(data), self._part_bytes)
        sending = [
            asyncio.ensure_future(send(number, data[start : start + self._part_bytes]))
            for number, start in enumerate(starts, 1)
        ]
        try:
            done: Sequence[Mapping[str, Any]] = await asyncio.gather(*sending)
            return done
        finally:  # none is on its way when the upload is aborted
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)

    async def _abort(self, upload: Mapping[str, Any]) -> None:
        """Until the store knows the upload no more: a part that was on its way may still land after one abort.

        What is left where even this fails goes by the bucket's lifecycle rule.
        """
        for attempt in range(ABORT_ATTEMPTS):
            if attempt:
                await asyncio.sleep(clients.pause_seconds(attempt))
            with contextlib.suppress(errors.BloomWeaverError):
                try:
                    await self._calls.call(
                        "abort_multipart_upload", upload, seconds=ABORT_SECONDS, expected=("NoSuchUpload",)
                    )
                except failures.Refused:
                    return

    async def _delete(self, names: Sequence[str]) -> None:
        left = [{"Key": name} for name in names]
        told = ""
        for attempt in range(DELETE_ATTEMPTS):
            if attempt:
                await asyncio.sleep(clients.pause_seconds(attempt))
            request = {**self._request, "Delete": {"Objects": left, "Quiet": True}}
            answer = await self._calls.call("delete_objects", request)
            failed = {one["Key"]: one for one in answer.get("Errors") or () if one.get("Code") not in _MISSING}
            denied = next((one for one in failed.values() if one.get("Code") == "AccessDenied"), None)
            if denied is not None:
                refused = {"Error": denied, "ResponseMetadata": {"HTTPStatusCode": 403}}
                raise failures.answered(refused, what=self._calls.what, unavailable=Reason.BLOBS_UNAVAILABLE)
            if not failed:
                return
            left = [{"Key": name} for name in failed]
            told = ", ".join(sorted({str(one.get("Code")) for one in failed.values()}))
        detail = (
            f"{self._calls.what} did not delete {len(left)} of {len(names)} objects, {DELETE_ATTEMPTS} times ({told})."
        )
        raise errors.TransientError(Reason.BLOBS_UNAVAILABLE, detail)


@contextlib.asynccontextmanager
async def open_blobs(url: str, *, part_bytes: int = PART_BYTES) -> AsyncIterator[S3Blobs]:
    """The blobs of a URL, with a client of their own until the context ends."""
    address = addresses.parse(url, shape=SHAPE, options=OPTIONS)
    bucket, owner = address.host, address.options.get("owner")
    if not _BUCKET.fullmatch(bucket):
        raise addresses.refused(bucket, "not the name of a bucket")
    if owner is not None and not _ACCOUNT.fullmatch(owner):
        raise addresses.refused(f"owner={owner}", "the 12 digits of an account")
    try:
        prefix = address.path and blob_keys.check(address.path)
    except ValueError:
        raise addresses.refused(address.path, "a prefix has printable ASCII between its slashes") from None
    style = "path" if address.access.endpoint or "." in bucket else "virtual"
    async with clients.open_calls(
        "s3",
        address.access,
        what=f"The bucket {bucket}",
        unavailable=Reason.BLOBS_UNAVAILABLE,
        settings={"s3": {"addressing_style": style}, "signature_version": "s3v4"},
    ) as calls:
        request = {"Bucket": bucket} | ({} if owner is None else {"ExpectedBucketOwner": owner})
        opened = S3Blobs(
            calls, request=request, prefix=prefix, kms_key=address.options.get("kms_key"), part_bytes=part_bytes
        )
        await opened.check()
        yield opened


def _region_of(answer: Mapping[str, Any]) -> str | None:
    """The bucket's region, where an answer tells it."""
    found = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
    return None if found is None else str(found)


async def _digest(data: bytes) -> str:
    """SHA-256 as S3 wants it. Large data in a thread: hashing lets go of the interpreter."""
    digest = hashlib.sha256(data) if len(data) < LEAST_BYTES_A_SECOND else await asyncio.to_thread(hashlib.sha256, data)
    return base64.b64encode(digest.digest()).decode("ascii")


def _seconds(size_bytes: int) -> float:
    """How long a transfer may take: nobody's network is slower than this, or it is as good as away."""
    return clients.CALL_SECONDS + size_bytes / LEAST_BYTES_A_SECOND


def _date(answer: Mapping[str, Any]) -> dt.datetime:
    """The store's clock, from its answer."""
    return email.utils.parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
