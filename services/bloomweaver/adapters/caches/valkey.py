"""`valkey://HOST:PORT/DATABASE`: a cache on Valkey or Redis that nobody misses when it is gone.

A call has a tenth of a second. One that fails opens the circuit: for a while, longer each time, nothing is asked, so
that a server that hangs costs a moment now and then rather than a moment each time. Nothing is sent before the first
call. The server bounds its own memory (`maxmemory`, `allkeys-lru`); every key that is written has an end.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from bloomweaver import logger
from bloomweaver.adapters.engines import addresses
from bloomweaver.ports import caches
from bloomweaver.ports import clock as clocks

if TYPE_CHECKING:
    from valkey import asyncio as clients

T = TypeVar("T")

OPTIONS = ("tls", "ca_file", "user", "password_file")
CALL_SECONDS = 0.1
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
CONNECTIONS = 32
MAX_VALUE_BYTES = 256 * 1024
_RAISE = """
local held = tonumber(redis.call('GET', KEYS[1]) or '-1')
local wanted = tonumber(ARGV[1])
redis.call('SET', KEYS[1], held > wanted and string.format('%.0f', held) or ARGV[1], 'PX', ARGV[2])
"""
# What is kept of a bucket is the time, by the server's clock, at which it is full again. Answers in microseconds. A
# hundredth of a turn is for rounding.
_LEASE = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local interval, burst = 1 / tonumber(ARGV[2]), tonumber(ARGV[3])
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local there = math.floor((now + burst * interval - due) / interval + 0.01)
local granted = math.min(tonumber(ARGV[1]), there)
if granted < 1 then return {0, 0, math.ceil((due - now - (burst - 1) * interval) * 1e6)} end
local kept = math.ceil((burst + 1) * interval * 1000)
redis.call('SET', KEYS[1], string.format('%.6f', due + granted * interval), 'PX', kept)
return {granted, there - granted, 0}
"""


@dataclass(frozen=True, slots=True)
class Address:
    """Where it is and how it is entered."""

    host: str
    port: int
    database: int = 0
    tls: bool = True
    ca_file: str | None = None
    user: str | None = None
    password_file: str | None = None


def parse(url: str) -> Address:
    """The address, or ConfigurationError."""
    parts = addresses.parse(url, known=OPTIONS)
    options = parts.options
    database = parts.path.strip("/") or "0"
    if (
        not parts.host
        or not (database.isascii() and database.isdigit())
        or options.get("tls", "on") not in ("on", "off")
    ):
        raise addresses.refused(f"{url.partition('?')[0]!r} is no cache. Write valkey://HOST:PORT/DATABASE.")
    tls = options.get("tls", "on") == "on"
    if not tls:
        addresses.web(f"http://{parts.host}", what="The cache")
    return Address(
        host=parts.host,
        port=parts.port or 6379,
        database=int(database),
        tls=tls,
        ca_file=options.get("ca_file"),
        user=options.get("user"),
        password_file=options.get("password_file"),
    )


class ValkeyCache:
    """clock: of the circuit. call_seconds: what a call may take."""

    def __init__(self, address: Address, *, clock: clocks.Clock, call_seconds: float = CALL_SECONDS) -> None:
        try:
            import valkey  # noqa: F401 - whether it is there; it is imported where it is used
        except ImportError as error:
            raise addresses.refused("valkey:// needs the extra `valkey`: install bloomweaver[valkey].") from error
        self._address = address
        file = address.password_file
        self._password = addresses.secret(file, what="the cache's password") if file else None
        self._clock = clock
        self._call_seconds = call_seconds
        self._client: clients.Valkey | None = None
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._closed_until = 0.0

    async def aclose(self) -> None:
        """Ends the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        if not keys:
            return []
        found = await self._try(lambda client: client.mget(list(keys)))
        return list(found) if found is not None else [None] * len(keys)

    async def put(self, values: Mapping[str, bytes], *, seconds: float) -> None:
        kept = {key: value for key, value in values.items() if len(value) <= MAX_VALUE_BYTES}

        async def write(client: Any) -> None:
            async with client.pipeline(transaction=False) as pipeline:
                for key, value in kept.items():
                    pipeline.set(key, value, px=_milliseconds(seconds))
                await pipeline.execute()

        if kept:
            await self._try(write)

    async def raise_to(self, key: str, number: int, *, seconds: float) -> None:
        await self._try(lambda client: client.eval(_RAISE, 1, key, str(number), str(_milliseconds(seconds))))

    async def lease(self, key: str, turns: int, *, per_second: float, burst: int) -> caches.Lease | None:
        asked = (str(turns), repr(per_second), str(burst))
        found: list[int] | None = await self._try(lambda client: client.eval(_LEASE, 1, key, *asked))
        return None if found is None else caches.Lease(found[0], found[1], found[2] / 1e6)

    async def forget(self, keys: Sequence[str]) -> None:
        if keys:
            await self._try(lambda client: client.unlink(*keys))

    async def _try(self, call: Callable[[Any], Awaitable[T]]) -> T | None:
        """What the server says, or None, and then nobody asks it for a while."""
        import valkey

        now = self._clock.monotonic()
        if now < self._closed_until:
            return None
        # One tries; who comes meanwhile is not held up by what it finds.
        probing = self._closed_until > 0
        if probing:
            self._closed_until = now + self._pause_seconds
        try:
            async with asyncio.timeout(self._call_seconds):
                answer = await call(self._connected())
        except (valkey.ValkeyError, OSError, TimeoutError) as error:
            self._closed_until = self._clock.monotonic() + self._pause_seconds
            if self._pause_seconds == FIRST_PAUSE_SECONDS:
                log = logger.get("cache")
                log.warning("cache_unavailable", error=error.__class__.__name__, detail=str(error)[:200])
            self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)
            return None
        self._pause_seconds, self._closed_until = FIRST_PAUSE_SECONDS, 0.0
        return answer

    def _connected(self) -> "clients.Valkey":
        if self._client is None:
            from valkey import asyncio as clients
            from valkey.asyncio import retry
            from valkey.backoff import NoBackoff

            address = self._address
            self._client = clients.Valkey(
                host=address.host,
                port=address.port,
                db=address.database,
                username=address.user,
                password=self._password,
                ssl=address.tls,
                ssl_ca_certs=address.ca_file,
                ssl_check_hostname=address.tls,
                socket_timeout=self._call_seconds,
                socket_connect_timeout=self._call_seconds,
                retry=retry.Retry(NoBackoff(), 0),
                max_connections=CONNECTIONS,
                client_name="bloomweaver",
            )
        return self._client


async def open_cache(url: str, *, clock: clocks.Clock, call_seconds: float = CALL_SECONDS) -> ValkeyCache:
    """The cache that a URL names."""
    return ValkeyCache(parse(url), clock=clock, call_seconds=call_seconds)


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
