"""The whole HTTP stack in memory: an application, its clock, and a client that speaks ASGI without a socket."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence

import fastapi
import httpx2
import prometheus_client

from bloomweaver.domain import credentials, identity
from bloomweaver.ports import registry
from bloomweaver.runtime import health, metrics
from bloomweaver.runtime.web import application, authentication, rates


class ManualClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1_000_000_000.0

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


class CountingNonces:
    """Names in a row, and bytes that never repeat."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def nonce(self) -> str:
        return f"nonce{next(self._numbers)}"

    def secret(self, size_bytes: int) -> bytes:
        return next(self._numbers).to_bytes(size_bytes, "big")


class Keys:
    """A registry of keys, and how often it was asked."""

    def __init__(self, nonces: CountingNonces) -> None:
        self._nonces = nonces
        self.stored: dict[str, registry.StoredKey] = {}
        self.asked = 0

    def add(
        self,
        *,
        verbs: Iterable[str] = ("read", "write", "admin"),
        collections: Sequence[str] = ("*",),
        tenant: str = "acme",
        expires_at: float | None = None,
        filter_json: str | None = None,
    ) -> credentials.NewKey:
        key = credentials.new_key(self._nonces.secret)
        self.stored[key.id] = registry.StoredKey(
            id=key.id,
            tenant=identity.TenantId(tenant),
            name="test",
            hash=key.hash,
            verbs=frozenset(verbs),
            collections=tuple(collections),
            created_at=0.0,
            expires_at=expires_at,
            filter_json=filter_json,
        )
        return key

    async def find(self, key_id: str) -> registry.StoredKey | None:
        self.asked += 1
        return self.stored.get(key_id)


@dataclasses.dataclass
class Stack:
    """An application and everything around it that a test looks at."""

    app: fastapi.FastAPI
    clock: ManualClock
    keys: Keys
    authenticator: authentication.KeyAuthenticator
    collector: prometheus_client.CollectorRegistry

    def client(
        self, key: credentials.NewKey | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx2.AsyncClient:
        sent = dict(headers or {})
        if key is not None:
            sent["authorization"] = f"Bearer {key.secret}"
        return httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self.app, raise_app_exceptions=False), base_url="http://test", headers=sent
        )


def stack(
    *routers: fastapi.APIRouter,
    rate_limiter: rates.RateLimiter | None = None,
    clock: ManualClock | None = None,
    obstacles: Sequence[str] = (),
    open_prefixes: tuple[str, ...] = (),
    max_concurrent_requests: int = 100,
) -> Stack:
    clock = clock or ManualClock()
    nonces = CountingNonces()
    keys = Keys(nonces)
    collector = prometheus_client.CollectorRegistry()
    authenticator = authentication.KeyAuthenticator(keys.find, clock=clock)

    async def readiness() -> health.Report:
        return health.Report(tuple(obstacles))

    surroundings = application.Surroundings(
        clock=clock,
        nonces=nonces,
        metrics=metrics.Metrics(collector, version="1.2.3"),
        authenticator=authenticator,
        readiness=readiness,
        open_prefixes=open_prefixes,
        rate_limiter=rate_limiter,
        max_concurrent_requests=max_concurrent_requests,
    )
    app = application.create(surroundings, title="BloomWeaver", version="1.2.3", routers=routers)
    return Stack(app, clock, keys, authenticator, collector)
