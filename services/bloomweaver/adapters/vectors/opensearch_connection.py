"""How OpenSearch is reached: its address, who signs in and how, requests bounded by time, its errors in our words.

Invariants: a request is sent once; nothing is sent before the first call; a password or an AWS key comes from a file or
the platform, and travels over https or on this machine only.
"""

import asyncio
import base64
import contextlib
import dataclasses
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from bloomweaver.adapters.engines import addresses
from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

if TYPE_CHECKING:
    import opensearchpy

REQUEST_SECONDS = 30.0
CONNECTIONS = 16
OPTIONS = ("tls", "user", "password_file", "ca_file", "auth", "region", "service", "refresh", "engine", "shards",
           "replicas")  # fmt: skip
ENGINES = ("lucene", "faiss")
_PREFIX = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_COUNT = re.compile(r"[0-9]{1,3}")


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """`opensearch://HOST:PORT/PREFIX?…`. prefix: of the indices, one per dimension.

    refreshes: whether a write makes itself visible at once, which costs the server more, instead of waiting for the
    next refresh. shards, replicas: of indices that are made; None leaves them to the server.
    serverless: whether it is one of AWS's collections, which take no ids and are not told when to refresh.
    """

    host: str
    port: int
    prefix: str
    tls: bool = True
    user: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    region: str | None = None
    refreshes: bool = False
    engine: str = "lucene"
    shards: int | None = None
    replicas: int | None = None
    serverless: bool = False


def parse(url: str) -> Address:
    """The address, or ConfigurationError."""
    parts = addresses.parse(url, known=OPTIONS)
    options = parts.options
    prefix = parts.path.strip("/") or "bloomweaver"
    shown = url.partition("?")[0]
    if not parts.host or not _PREFIX.fullmatch(prefix):
        raise addresses.refused(f"{shown!r} names no OpenSearch. Write opensearch://HOST:PORT/PREFIX.")
    _one_of(options, "tls", ("on", "off"))
    _one_of(options, "refresh", ("wait", "now"))
    _one_of(options, "engine", ENGINES)
    _one_of(options, "auth", ("aws", "basic", "none"))
    tls = options.get("tls", "on") == "on"
    if not tls:
        addresses.web(f"http://{parts.host}", what="OpenSearch")
    _one_of(options, "service", ("es", "aoss"))
    serverless = options.get("service") == "aoss"
    if serverless and (refused := {"refresh", "shards", "replicas"} & options.keys()):
        raise addresses.refused(f"OpenSearch Serverless decides {', '.join(sorted(refused))} itself. Leave it out.")
    address = Address(
        host=parts.host,
        port=parts.port or (443 if tls else 9200),
        prefix=prefix,
        tls=tls,
        user=options.get("user"),
        password_file=options.get("password_file"),
        ca_file=options.get("ca_file"),
        region=_region(options),
        refreshes=options.get("refresh") == "now",
        engine=options.get("engine", "faiss" if serverless else "lucene"),
        shards=_count(options, "shards"),
        replicas=_count(options, "replicas"),
        serverless=serverless,
    )
    if (address.user is None) != (address.password_file is None) or (address.user and address.region):
        raise addresses.refused("OpenSearch is entered with user and password_file together, or with auth=aws.")
    return address


class Connection:
    """One client, made at first use."""

    def __init__(self, address: Address) -> None:
        try:
            import opensearchpy
        except ImportError as error:
            detail = "opensearch:// needs the extra `opensearch`: install bloomweaver[opensearch]."
            raise addresses.refused(detail) from error
        self.address = address
        self._lock = asyncio.Lock()
        self._client: opensearchpy.AsyncOpenSearch | None = None
        self._signer: _Signer | None = None

    async def request(
        self, method: str, path: str, *, body: object = None, parameters: Mapping[str, object] | None = None
    ) -> Any:
        """One request; gives the answer's JSON."""
        client = await self._opened()
        async with translated(self.address.host):
            if self._signer is not None:
                await self._signer.refresh()
            return await client.transport.perform_request(
                method, path, params={name: str(value) for name, value in (parameters or {}).items()}, body=body
            )

    async def aclose(self) -> None:
        """Ends the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _opened(self) -> "opensearchpy.AsyncOpenSearch":
        async with self._lock:
            if self._client is None:
                self._client = await self._open()
            return self._client

    async def _open(self) -> "opensearchpy.AsyncOpenSearch":
        import opensearchpy

        address, auth = self.address, None
        headers: dict[str, str] = {}
        if address.region is not None:
            self._signer = await _Signer.made()
            auth = opensearchpy.AWSV4SignerAsyncAuth(
                self._signer, address.region, "aoss" if address.serverless else "es"
            )
        elif address.user is not None and address.password_file is not None:
            password = addresses.secret(address.password_file, what="OpenSearch's password")
            headers["authorization"] = "Basic " + base64.b64encode(f"{address.user}:{password}".encode()).decode()
        return opensearchpy.AsyncOpenSearch(
            hosts=[{"host": address.host, "port": address.port}],
            connection_class=opensearchpy.AsyncHttpConnection,
            http_auth=auth,
            headers=headers,
            use_ssl=address.tls,
            ca_certs=address.ca_file,
            timeout=REQUEST_SECONDS,
            max_retries=0,
            http_compress=address.region is None,  # a signed body is sent as it is
            pool_maxsize=CONNECTIONS,
        )


class _Signer:
    """AWS credentials of the platform, as OpenSearch's client asks for them: without waiting."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials
        self._frozen: Any = None

    @classmethod
    async def made(cls) -> "_Signer":
        try:
            from aiobotocore import session
        except ImportError as error:
            raise addresses.refused("auth=aws needs the extra `aws`: install bloomweaver[aws].") from error
        credentials = await session.get_session().get_credentials()
        if credentials is None:
            detail = "There are no AWS credentials: no variables, no profile, no role of the pod or the machine."
            raise errors.ConfigurationError(Reason.CREDENTIALS_REFUSED, detail)
        return cls(credentials)

    async def refresh(self) -> None:
        """Renews what is about to expire."""
        self._frozen = await self._credentials.get_frozen_credentials()

    def get_frozen_credentials(self) -> Any:
        """What was renewed last."""
        return self._frozen


@contextlib.asynccontextmanager
async def translated(host: str) -> AsyncIterator[None]:
    """Bounds what is done inside by time, and turns OpenSearch's errors into ours; NotFoundError passes."""
    import opensearchpy

    away = Reason.VECTORS_UNAVAILABLE
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            yield
    except opensearchpy.NotFoundError:
        raise
    except (opensearchpy.ImproperlyConfigured, ssl.SSLError) as error:
        raise addresses.refused(f"The ca_file for OpenSearch at {host} cannot be used: {error}.") from error
    except (opensearchpy.ConnectionError, TimeoutError) as error:
        addresses.refuse_untrusted(error, what=f"OpenSearch at {host}", remedy="Name its authority in ca_file.")
        detail = f"OpenSearch at {host} does not answer ({error.__class__.__name__})."
        raise errors.TransientError(away, detail) from error
    except (opensearchpy.AuthenticationException, opensearchpy.AuthorizationException) as error:
        if "block" in str(error.error):  # the disk is nearly full: indices were made read-only
            raise errors.TransientError(away, f"OpenSearch at {host} blocks writes: {error.error}.") from error
        detail = f"OpenSearch at {host} refuses who we are ({error.status_code}: {error.error!s:.200})."
        raise errors.ConfigurationError(Reason.CREDENTIALS_REFUSED, detail) from error
    except opensearchpy.SerializationError as error:
        detail = f"What answers at {host} does not speak OpenSearch's JSON. {addresses.SOMETHING_ELSE}"
        raise errors.TransientError(away, detail) from error
    except opensearchpy.TransportError as error:
        raise refusal(int(error.status_code), f"{error.error!s:.200}", host=host) from error


def refusal(status: int, why: str, *, host: str) -> errors.WorkError:
    """The error for a request, or one item of it, that was answered with a status that is no success."""
    if status == 429:
        detail = f"OpenSearch at {host} takes no more just now: {why}."
        return errors.TransientError(Reason.THROTTLED, detail, retry_after_seconds=2.0)
    if status >= 500 or status == 408 or "block" in why:
        return errors.TransientError(Reason.VECTORS_UNAVAILABLE, f"OpenSearch at {host} answered {status}: {why}.")
    return errors.PermanentError(Reason.STORE_REFUSED, f"OpenSearch refused this ({status}): {why}")


def _one_of(options: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> None:
    if options.get(name, allowed[0]) not in allowed:
        raise addresses.refused(f"{name} is one of {', '.join(allowed)}.")


def _region(options: Mapping[str, str]) -> str | None:
    signs, region = options.get("auth") == "aws", options.get("region")
    if signs != (region is not None):
        raise addresses.refused("auth=aws and region=REGION belong together.")
    return region


def _count(options: Mapping[str, str], name: str) -> int | None:
    text = options.get(name)
    if text is not None and not _COUNT.fullmatch(text):
        raise addresses.refused(f"{name} is a small number.")
    return None if text is None else int(text)
