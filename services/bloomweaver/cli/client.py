"""The HTTP contract as a client sees it: one request is one call here, and every refusal is a `Failure`.

`patiently` repeats what is safe to repeat: change events carry ids of their own, so that the second of two equal calls
is a duplicate and not a second change.
"""

import asyncio
import contextlib
import random
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeAlias, TypeVar

import httpx2

import bloomweaver
from bloomweaver.cli import failures, surroundings

Json: TypeAlias = dict[str, Any]
T = TypeVar("T")

CONNECT_SECONDS = 5.0
READ_SECONDS = 90.0
PAGE = 1000
PATIENCE_SECONDS = 120.0
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 15.0
AGAIN = (429, 502, 503, 504)


class Api:
    """One server, one key."""

    def __init__(self, http: httpx2.AsyncClient, target: surroundings.Target) -> None:
        self._http = http
        self.target = target

    async def get(self, path: str, **parameters: object) -> Json:
        """GET, parsed. Parameters that are None are left out."""
        return self._parsed(await self._send("GET", path, parameters=parameters))

    async def post(self, path: str, body: object | None = None, **parameters: object) -> Json:
        """POST of JSON, parsed."""
        return self._parsed(await self._send("POST", path, body=body, parameters=parameters))

    async def put(self, path: str, body: object, **parameters: object) -> Json:
        """PUT of JSON, parsed."""
        return self._parsed(await self._send("PUT", path, body=body, parameters=parameters))

    async def delete(self, path: str, **parameters: object) -> Json:
        """DELETE, parsed."""
        return self._parsed(await self._send("DELETE", path, parameters=parameters))

    async def text(self, path: str, **parameters: object) -> str:
        """GET of what is not JSON."""
        response = await self._send("GET", path, parameters=parameters)
        self._check(response)
        return response.text

    async def status_of(self, path: str) -> int:
        """The status of a GET, whatever it is."""
        return (await self._send("GET", path)).status_code

    async def obstacles(self) -> list[str] | None:
        """What keeps the server from serving, in its own words; None where it is ready."""
        response = await self._send("GET", "/readyz")
        if response.status_code == 200:
            return None
        try:
            told = response.json()
        except ValueError:
            told = {}
        listed = told.get("obstacles") if isinstance(told, dict) else None
        return (
            [str(one) for one in listed] if isinstance(listed, list) and listed else [f"status {response.status_code}"]
        )

    async def pages(self, path: str, **parameters: object) -> AsyncIterator[Json]:
        """The items of a list, page after page."""
        cursor: str | None = None
        while True:
            page = await self.get(path, limit=PAGE, cursor=cursor, **parameters)
            for item in page["items"]:
                yield item
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    async def patiently(
        self,
        ask: Callable[[], Awaitable[T]],
        *,
        on_pause: Callable[[str, float], None] = lambda why, seconds: None,
    ) -> T:
        """What `ask` gives, asked again for PATIENCE_SECONDS while the server is busy or away.

        Only for what may be asked twice: reads, and changes that carry an id of their own. on_pause: told why and for
        how long it rests.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + PATIENCE_SECONDS
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return await ask()
            except failures.Failure as failure:
                rest = failure.after_seconds
                if rest is None:
                    rest = pause * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load
                if not failure.passing or clock() + rest > deadline:
                    raise
                on_pause(failure.what, rest)
            await asyncio.sleep(rest)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _send(
        self, method: str, path: str, *, body: object | None = None, parameters: Mapping[str, object] | None = None
    ) -> httpx2.Response:
        query = {name: str(value) for name, value in (parameters or {}).items() if value is not None}
        try:
            return await self._http.request(method, path, params=query or None, json=body)
        except httpx2.TransportError as error:
            failure = self._unreachable(error)
            failure.passing = True
            raise failure from error

    def _parsed(self, response: httpx2.Response) -> Json:
        self._check(response)
        try:
            value = response.json()
        except ValueError as error:
            raise self._not_ours(response) from error
        if not isinstance(value, dict):
            raise self._not_ours(response)
        return value

    def _check(self, response: httpx2.Response) -> None:
        if not response.is_success:
            failure = self._failure(response)
            failure.passing = response.status_code in AGAIN
            failure.after_seconds = retry_after_of(response.headers)
            raise failure

    def _failure(self, response: httpx2.Response) -> failures.Failure:
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict) or "reason" not in body:
            return self._not_ours(response)
        failure = failures.problem(response.status_code, body, base_url=self.target.url)
        if response.status_code == 401:
            failure.advice = self._key_advice()
        return failure

    def _key_advice(self) -> str:
        if self.target.key is None:
            return (
                "Set BLOOMWEAVER_API_KEY; for a server of this machine, name its data folder with --data "
                f"(there is no key in {self.target.data})."
            )
        return f"The key from {self.target.key_from} is not valid here: use another, or make one with `keys create`."

    def _not_ours(self, response: httpx2.Response) -> failures.Failure:
        return failures.Failure(
            f"{self.target.url} does not answer as BloomWeaver does.",
            why=f"status {response.status_code} for {response.request.method} {response.request.url.path}",
            advice="Check BLOOMWEAVER_URL, and what stands between here and there.",
            code=failures.ExitCode.UNREACHABLE,
        )

    def _unreachable(self, error: httpx2.TransportError) -> failures.Failure:
        why = "it took too long" if isinstance(error, httpx2.TimeoutException) else str(error) or type(error).__name__
        return failures.Failure(
            f"Cannot reach {self.target.url}.",
            why=why,
            advice="Start a server with `bloomweaver dev`, or name another one with --url or BLOOMWEAVER_URL.",
            code=failures.ExitCode.UNREACHABLE,
        )


@contextlib.asynccontextmanager
async def open_api(
    target: surroundings.Target, *, transport: httpx2.AsyncBaseTransport | None = None
) -> AsyncIterator[Api]:
    """Open a client."""
    headers = {"User-Agent": f"bloomweaver-cli/{bloomweaver.__version__}", "Accept": "application/json"}
    if target.key is not None:
        headers["Authorization"] = f"Bearer {target.key}"
    address = urllib.parse.urlsplit(target.url)
    try:
        http = httpx2.AsyncClient(
            base_url=target.url,
            headers=headers,
            timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            transport=transport,
            verify=address.scheme == "https",
            trust_env=address.hostname not in surroundings.LOOPBACK,
        )
    except UnicodeEncodeError as error:
        raise failures.Failure(
            "The API key is not one.",
            why=f"the key from {target.key_from} has characters that no key has",
            advice="Copy it again.",
            code=failures.ExitCode.NOT_ALLOWED,
        ) from error
    async with http:
        yield Api(http, target)


def document_path(collection: str, document_id: str, *rest: str) -> str:
    """The path of a document; slashes of its id are encoded."""
    name = urllib.parse.quote(collection, safe="")
    encoded = urllib.parse.quote(document_id, safe="")
    return "/".join(["/v1/collections", name, "documents", encoded, *rest])


def collection_path(collection: str, *rest: str) -> str:
    """The path of a collection."""
    return "/".join(["/v1/collections", urllib.parse.quote(collection, safe=""), *rest])


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """The seconds of Retry-After, bounded; None if it is not there or a date."""
    value = headers.get("retry-after", "")
    return min(float(value), LONGEST_PAUSE_SECONDS * 4) if value.isdigit() else None
