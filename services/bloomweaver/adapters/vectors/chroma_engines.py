"""The two Chromas: a folder that this process alone opens, by Chroma's library, and a server, by its HTTP.

The server is spoken to directly because the library's asyncio client trusts every certificate unless told otherwise,
shares connections and headers between clients, and takes seconds to import. Both engines raise `Unknown` for a
collection that is not there, and our errors for the rest.
"""

import asyncio
import concurrent.futures
import contextlib
import functools
import pathlib
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from bloomweaver.adapters.engines import addresses
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

T = TypeVar("T")

REQUEST_SECONDS = 30.0
PAGE = 1000
CONFIGURATION: Mapping[str, Any] = {"hnsw": {"space": "cosine", "ef_search": 256}}


class Unknown(Exception):
    """There is no such collection, any more."""


class Engine(Protocol):
    """A collection is what `open` gives: a handle that the engine understands."""

    async def open(self, name: str, *, make: bool) -> Any:
        """The collection of that name; Unknown where it is not there and not to be made."""
        ...

    async def names(self) -> list[str]:
        """Of all collections."""
        ...

    async def drop(self, name: str) -> None:
        """Remove a collection."""
        ...

    async def call(self, collection: Any, operation: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """`upsert`, `delete`, `query` or `get`, with Chroma's own parameters."""
        ...

    async def aclose(self) -> None:
        """Ends it."""
        ...


class Embedded:
    """Chroma in this process. Its calls block, so they run on a thread of its own."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._threads = concurrent.futures.ThreadPoolExecutor(4, thread_name_prefix="chroma")
        self._client: Any = None
        self._lock = asyncio.Lock()

    async def open(self, name: str, *, make: bool) -> Any:
        client = await self._opened()
        if make:
            make_it = functools.partial(client.get_or_create_collection, configuration=dict(CONFIGURATION))
            return await self._run(functools.partial(make_it, name, embedding_function=None))
        return await self._run(functools.partial(client.get_collection, name, embedding_function=None))

    async def names(self) -> list[str]:
        client, found = await self._opened(), list[str]()
        while page := await self._run(functools.partial(client.list_collections, limit=PAGE, offset=len(found))):
            found.extend(collection.name for collection in page)
        return found

    async def drop(self, name: str) -> None:
        client = await self._opened()
        await self._run(functools.partial(client.delete_collection, name))

    async def call(self, collection: Any, operation: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self._run(functools.partial(getattr(collection, operation), **body)) or {}

    async def aclose(self) -> None:
        if self._client is not None:
            await self._run(self._client.close)
            self._client = None
        self._threads.shutdown()

    async def _opened(self) -> Any:
        async with self._lock:
            if self._client is None:
                self._client = await self._run(self._open)
            return self._client

    def _open(self) -> Any:
        try:
            import chromadb
            from chromadb import config
        except ImportError as error:
            raise addresses.refused(
                "chroma:///folder needs the extra `chroma`: install bloomweaver[chroma]."
            ) from error
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise addresses.refused(f"The folder {self._folder} cannot be made: {error.strerror}.") from error
        return chromadb.PersistentClient(self._folder, settings=config.Settings(anonymized_telemetry=False))

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, _translated, call)


class Server:
    """Chroma's HTTP, version 2. Requests are sent once and bounded."""

    def __init__(self, url: str, *, database: str, token: Callable[[], str | None]) -> None:
        self._database = f"{url}/api/v2/tenants/default_tenant/databases/{urllib.parse.quote(database, safe='')}"
        self._host = urllib.parse.urlsplit(url).hostname
        self._token = token
        self._client: Any = None
        self._looked = False

    async def open(self, name: str, *, make: bool) -> Any:
        if make:
            body = {"name": name, "get_or_create": True, "configuration": CONFIGURATION}
            return (await self._request("POST", "", body))["id"]
        return (await self._request("GET", f"/{urllib.parse.quote(name, safe='')}"))["id"]

    async def names(self) -> list[str]:
        found: list[str] = []
        while page := await self._request("GET", f"?limit={PAGE}&offset={len(found)}"):
            found.extend(collection["name"] for collection in page)
        return found

    async def drop(self, name: str) -> None:
        await self._request("DELETE", f"/{urllib.parse.quote(name, safe='')}")

    async def call(self, collection: Any, operation: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = await self._request("POST", f"/{collection}/{operation}", body)
        return answer if isinstance(answer, Mapping) else {}

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Below the collections of the database, which is looked at once."""
        if not self._looked:
            await self._send("GET", self._database)
            self._looked = True
        return await self._send(method, f"{self._database}/collections{path}", body)

    async def _send(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> Any:
        import httpx2

        if self._client is None:
            token = self._token()
            headers = {"authorization": f"Bearer {token}"} if token else {}
            self._client = httpx2.AsyncClient(timeout=REQUEST_SECONDS, headers=headers)
        away = Reason.VECTORS_UNAVAILABLE
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                answer = await self._client.request(method, url, json=body)
        except (httpx2.HTTPError, TimeoutError) as error:
            addresses.refuse_untrusted(error, what=f"Chroma at {self._host}", remedy=addresses.SYSTEM)
            detail = f"Chroma at {self._host} does not answer ({error.__class__.__name__})."
            raise errors.TransientError(away, detail) from error
        if answer.is_success:
            try:
                return answer.json()
            except ValueError as error:
                detail = f"What answers at {self._host} is no Chroma. {addresses.SOMETHING_ELSE}"
                raise errors.TransientError(away, detail) from error
        raise self._failure(answer.status_code, answer.text[:200])

    def _failure(self, status: int, why: str) -> Exception:
        if status == 404 and "Collection" in why:
            return Unknown(why)
        if status in (401, 403):
            detail = f"Chroma at {self._host} refuses the token ({status})."
            return errors.ConfigurationError(Reason.CREDENTIALS_REFUSED, detail)
        if status in (404, 405, 410):
            return addresses.refused(f"Chroma at {self._host} knows no such path or database ({status}): {why}")
        if status == 429:
            return errors.TransientError(Reason.THROTTLED, f"Chroma at {self._host} takes no more just now.")
        if status >= 500 or status == 408:
            return errors.TransientError(Reason.VECTORS_UNAVAILABLE, f"Chroma at {self._host} answered {status}: {why}")
        return _refusal(why)


def _translated(call: Callable[[], T]) -> T:
    with _in_our_words():
        return call()


@contextlib.contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        import chromadb.errors as chroma
    except ImportError:  # said in full by the call itself
        yield
        return
    try:
        yield
    except chroma.NotFoundError as error:
        raise Unknown(str(error)) from error
    except chroma.InternalError as error:
        full = "full" in str(error)
        reason = Reason.DISK_FULL if full else Reason.VECTORS_UNAVAILABLE
        raise errors.TransientError(reason, f"Chroma failed: {error!s:.200}") from error
    except (chroma.ChromaError, ValueError) as error:
        raise _refusal(f"{error!s:.200}") from error


def _refusal(why: str) -> errors.BloomWeaverError:
    if "dimension" in why:
        return errors.ConfigurationError(Reason.DIMENSION_MISMATCH, f"Chroma refused this: {why}")
    return errors.PermanentError(Reason.STORE_REFUSED, f"Chroma refused this: {why}")


def numbers(vectors: Sequence[Any]) -> list[list[float]]:
    """Vectors as both engines take them."""
    return [vector.tolist() for vector in vectors]
