"""How a Pinecone index is reached: its address, the client, the look at the index before first use, its errors.

Invariants: the client never repeats a request by itself, since a repeated write would land after its caller gave up;
nothing is sent before the first call, so that a process starts and says it is not ready rather than die; the index is
looked at before it is used, and again until it is right.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from bloomweaver.adapters.engines import addresses
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

if TYPE_CHECKING:
    import pinecone

REQUEST_SECONDS = 10.0
"""One request, all of it: connecting, sending, waiting, reading."""
OPTIONS = ("host", "controller", "key_file", "positions")
METRIC = "cosine"


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """`pinecone://INDEX?…`. host: of the index, None asks Pinecone for it. key_file: None leaves the key to the client,
    which reads PINECONE_API_KEY. positions: whether the log sequence numbers of the answers are believed."""

    index: str
    host: str | None = None
    controller: str | None = None
    key_file: str | None = None
    positions: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Ready:
    """An index that was looked at and may be used."""

    client: "pinecone.AsyncIndex"
    dimension: int


def parse(url: str) -> Address:
    """The address, or ConfigurationError."""
    parts = addresses.parse(url, known=OPTIONS)
    options = parts.options
    if not parts.host or parts.path not in ("", "/") or parts.port is not None:
        raise addresses.refused(f"{url.partition('?')[0]!r} names no index. Write pinecone://INDEX.")
    if options.get("positions", "on") not in ("on", "off"):
        raise addresses.refused("positions is on or off.")
    host, controller = options.get("host"), options.get("controller")
    return Address(
        index=parts.host,
        host=addresses.web(host, what="a Pinecone index") if host else None,
        controller=addresses.web(controller, what="Pinecone") if controller else None,
        key_file=options.get("key_file"),
        positions=options.get("positions", "on") == "on",
    )


class Connection:
    """One index. `ready` gives it once it is known to be there, serverless, dense and of the right metric."""

    def __init__(self, address: Address) -> None:
        try:
            import pinecone  # noqa: F401 - whether it is there; it is imported where it is used
        except ImportError as error:
            raise addresses.refused("pinecone:// needs the extra `pinecone`: install bloomweaver[pinecone].") from error
        self._address = address
        self._lock = asyncio.Lock()
        self._ready: Ready | None = None

    async def ready(self) -> Ready:
        """The index; ConfigurationError says what is wrong with it, and the next call looks again."""
        if self._ready is None:
            async with self._lock:
                if self._ready is None:
                    self._ready = await self._connect()
        return self._ready

    async def aclose(self) -> None:
        """Ends the connections."""
        if self._ready is not None:
            await self._ready.client.close()
            self._ready = None

    async def _connect(self) -> Ready:
        import pinecone

        name = self._address.index
        key = self._address.key_file
        async with contextlib.AsyncExitStack() as stack:
            async with translated(name):
                parent = pinecone.AsyncPinecone(
                    api_key=addresses.secret(key, what="Pinecone's API key") if key else None,
                    host=self._address.controller,
                    timeout=REQUEST_SECONDS,
                    retry_config=pinecone.RetryConfig(max_retries=0),
                )
                stack.push_async_callback(parent.close)
                host = self._address.host or await self._host(parent)
                client = await parent.index(host=host)
            _never_repeats(client)
            stack.push_async_callback(client.close)
            dimension = await self._looked_at(client)
            stack.pop_all()
            await parent.close()
        return Ready(client, dimension)

    async def _host(self, parent: "pinecone.AsyncPinecone") -> str:
        import pinecone

        try:
            found = await parent.indexes.describe(self._address.index)
        except pinecone.NotFoundError as error:
            detail = f"There is no Pinecone index {self._address.index!r} for this key. Create it, or correct the URL."
            raise addresses.refused(detail) from error
        if found.host is None:
            raise errors.TransientError(Reason.VECTORS_UNAVAILABLE, f"The index {self._address.index!r} is being made.")
        return found.host

    async def _looked_at(self, client: "pinecone.AsyncIndex") -> int:
        import pinecone

        name = self._address.index
        async with translated(name):
            try:
                stats = await client.describe_index_stats()
            except pinecone.ResponseParsingError as error:
                raise addresses.refused(f"What answers at {client.host} is no Pinecone index.") from error
            except pinecone.NotFoundError as error:
                raise addresses.refused(f"There is no Pinecone index at {client.host}.") from error
        if stats.dimension is None:
            raise addresses.refused(f"The Pinecone index {name!r} is not for dense vectors. Create a dense one.")
        if stats.metric not in (None, METRIC):
            detail = f"The Pinecone index {name!r} measures by {stats.metric}. Create one with metric {METRIC}."
            raise addresses.refused(detail)
        return int(stats.dimension)


@contextlib.asynccontextmanager
async def translated(index: str) -> AsyncIterator[None]:
    """Bounds what is done inside by time, and turns Pinecone's errors into ours."""
    import pinecone

    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            yield
    except pinecone.RateLimitError as error:
        after = error.retry_after if error.retry_after is not None else 1.0
        detail = f"Pinecone takes no more requests for index {index!r} just now."
        raise errors.TransientError(Reason.THROTTLED, detail, retry_after_seconds=after) from error
    except (pinecone.UnauthorizedError, pinecone.ForbiddenError) as error:
        detail = f"Pinecone refuses the key for index {index!r} ({error.status_code}: {error.message[:200]})."
        raise errors.ConfigurationError(Reason.CREDENTIALS_REFUSED, detail) from error
    except pinecone.PaymentRequiredError as error:
        raise addresses.refused(f"Pinecone wants the bill of index {index!r} settled: {error.message[:200]}") from error
    except pinecone.ApiError as error:
        if error.status_code >= 500 or error.status_code == 408:
            detail = f"Pinecone answered {error.status_code} for index {index!r}."
            raise errors.TransientError(Reason.VECTORS_UNAVAILABLE, detail) from error
        if error.status_code == 409:
            detail = f"Pinecone holds an alias where index {index!r} needs a namespace: {error.message[:200]}"
            raise addresses.refused(detail) from error
        detail = f"Pinecone refused this ({error.status_code}): {error.message[:200]}"
        raise errors.PermanentError(Reason.STORE_REFUSED, detail) from error
    except pinecone.PineconeValueError as error:
        raise addresses.refused(f"Pinecone's client refuses the settings: {error.message[:200]}") from error
    except pinecone.ResponseParsingError as error:
        detail = f"What answers for index {index!r} does not speak Pinecone's JSON. {addresses.SOMETHING_ELSE}"
        raise errors.TransientError(Reason.VECTORS_UNAVAILABLE, detail) from error
    except (TimeoutError, pinecone.PineconeError) as error:
        addresses.refuse_untrusted(error, what=f"Pinecone's index {index!r}", remedy=addresses.SYSTEM)
        # The rest has no answer to look at: no connection, or too late.
        detail = f"Pinecone's index {index!r} did not answer as it should ({error.__class__.__name__})."
        raise errors.TransientError(Reason.VECTORS_UNAVAILABLE, detail) from error


def _never_repeats(client: "pinecone.AsyncIndex") -> None:
    """The public way to set this reaches the control plane only; the client of an index is made with its defaults."""
    once = dataclasses.replace(client._config.retry_config, max_retries=0)  # noqa: SLF001 - see above
    client._http._config = dataclasses.replace(client._config, retry_config=once)  # noqa: SLF001 - see above
