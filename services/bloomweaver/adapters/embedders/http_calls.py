"""A call of an embedding service over HTTP: bounded in time and size, its failures told apart by what they call for.

Throttling and outages pass by themselves; refused credentials and unknown models are for whoever set it up; a refused
text may be too long. What a service says of a text is not repeated, because it may repeat the text.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any, Final

import httpx2

from bloomweaver.adapters.embedders import hosted
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

CONNECT_SECONDS: Final = 5.0
CALL_SECONDS: Final = 60.0
ANSWER_BYTES: Final = 64 * 1024 * 1024
REST_SECONDS: Final = 2.0
LONGEST_REST_SECONDS: Final = 120.0
_REFUSED: Final = frozenset({400, 413, 422})
_TOO_LONG: Final = (
    "context length",
    "context_length",
    "too long",
    "too_long",
    "maximum length",
    "too many",
    "input length",
)


def client() -> httpx2.AsyncClient:
    """No redirects: an embedding service answers where it was configured."""
    return httpx2.AsyncClient(timeout=httpx2.Timeout(CALL_SECONDS, connect=CONNECT_SECONDS), follow_redirects=False)


def bearer(key_file: str | None) -> Mapping[str, str]:
    """The key, read anew for every call, so that a changed file is found."""
    if key_file is None:
        return {}
    try:
        key = pathlib.Path(key_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        detail = (
            f"the key file {key_file} cannot be read ({type(error).__name__}). Correct key_file or its permissions."
        )
        raise errors.ConfigurationError(Reason.CREDENTIALS_REFUSED, detail) from error
    return {"Authorization": f"Bearer {key}"}


async def post(http: httpx2.AsyncClient, url: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Any:
    """The answer's JSON."""
    where = httpx2.URL(url).host
    try:
        async with http.stream("POST", url, json=body, headers=dict(headers)) as response:
            content = await _content(response, where)
            if not response.is_success:
                raise _failure(response, content, where)
    except httpx2.TransportError as error:
        raise _away(f"{where} cannot be reached ({type(error).__name__})") from error
    try:
        return json.loads(content)
    except ValueError:
        raise _away(f"{where} answered what is no JSON; look at what stands in between") from None


async def _content(response: httpx2.Response, where: str) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > ANSWER_BYTES:
            raise hosted.odd(f"with over {ANSWER_BYTES} bytes ({where})")
        parts.append(part)
    return b"".join(parts)


def says_too_long(told: str) -> bool:
    """Whether a refusal, in small letters, is about a text's length."""
    return any(words in told for words in _TOO_LONG)


def _failure(response: httpx2.Response, content: bytes, where: str) -> errors.BloomWeaverError:
    code = response.status_code
    if code == httpx2.codes.TOO_MANY_REQUESTS or code >= 500 or code == httpx2.codes.REQUEST_TIMEOUT:
        return _away(f"{where} answered {code}", rest_seconds=_retry_after(response.headers))
    if code in {401, 403}:
        detail = f"{where} refuses the key ({code}). Correct the file that key_file names, or what the key may do."
        return errors.ConfigurationError(Reason.CREDENTIALS_REFUSED, detail)
    if code in _REFUSED:
        told = content[:4096].decode("utf-8", "replace").lower()
        if says_too_long(told):
            return errors.PermanentError(Reason.TEXT_TOO_LONG, f"{where} finds the text too long ({code})")
        return errors.RetryableError(Reason.EMBEDDING_FAILED, f"{where} refuses the request ({code})")
    detail = f"{where} answered {code} for {response.request.url.path}. Correct the address or the name of the model."
    return errors.ConfigurationError(Reason.MODEL_NOT_USABLE, detail)


def _away(why: str, *, rest_seconds: float = REST_SECONDS) -> errors.TransientError:
    return errors.TransientError(Reason.EMBEDDER_UNAVAILABLE, f"{why}.", retry_after_seconds=rest_seconds)


def _retry_after(headers: Mapping[str, str]) -> float:
    given = headers.get("retry-after", "")
    return min(LONGEST_REST_SECONDS, max(1.0, float(given))) if given.isdigit() else REST_SECONDS
