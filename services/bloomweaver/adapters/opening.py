"""The one table of URL schemes: which adapter a URL names, and how it is opened and closed.

Invariants: adapters are imported only when their scheme is used; what shares a SQLite file shares its engine, and with
it the writer and its commits; an unknown scheme is a ConfigurationError that names the known ones. A URL never holds
credentials.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Protocol

from bloomweaver.adapters import opening_models, opening_servers, places
from bloomweaver.ports import (
    blobs,
    caches,
    clock,
    healing,
    history,
    ledger,
    opened,
    queues,
    registry,
    vectors,
)

if TYPE_CHECKING:
    from bloomweaver.adapters import opening_postgresql
    from bloomweaver.adapters.engines.dynamodb import tables
    from bloomweaver.adapters.engines.postgresql import migrations
    from bloomweaver.adapters.engines.sqlite import engine

DATABASES = ("mem", "sqlite", "postgresql", "dynamodb")
QUEUES = ("mem", "sqlite", "postgresql", "sqs")
BLOBS = ("mem", "file", "postgresql", "s3")
VECTORS = ("mem", "sqlite", "postgresql", "pinecone", "opensearch", "chroma")
STORES = ("mem", "sqlite", "postgresql", "dynamodb")
BLOBS_FOLDER = "blobs"


class Recorder(Protocol):
    """What the measured ports tell; `runtime.metrics.Metrics` is one."""

    def count_receive(self, queue: str, outcome: str) -> None: ...
    def set_queue(self, queue: str, *, messages: Mapping[str, int], oldest_age_seconds: float | None) -> None: ...
    def observe_store(self, backend: str, op: str, *, outcome: str, seconds: float) -> None: ...


class Sealer(Protocol):
    """Encrypts what has to be read again; bound to its owner."""

    def seal(self, plain: bytes, *, owner: str) -> bytes: ...
    def unseal(self, sealed: bytes, *, owner: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Database:
    """The four ports that one database carries, so that they share transactions."""

    ledger: ledger.Ledger
    healing: healing.Healing
    registry: registry.Registry
    history: history.History


@dataclass(frozen=True, slots=True)
class Store:
    """Every port that keeps something. cache: None where there is none. leases: of rates, likewise."""

    database: Database
    queues: queues.Queues
    blobs: blobs.Blobs
    vectors: vectors.Vectors
    cache: caches.Cache | None = None
    leases: caches.Leases | None = None


@dataclass(frozen=True, slots=True)
class Addresses:
    """The URL of each port."""

    database: str
    queues: str
    blobs: str
    vectors: str


@dataclass(frozen=True, slots=True)
class Access:
    """How stores are entered.

    postgresql_password: asked at every new connection, so that a changed file is found; None leaves it to the platform.
    migrates: whether opening brings the schema to this release, or only checks it. cache: the URL of the cache before
    them, None for none.
    """

    postgresql_password: Callable[[], str | None] = lambda: None
    migrates: bool = True
    cache: str | None = None


def profile(
    store: str, *, queues: str | None = None, blobs: str | None = None, vectors: str | None = None
) -> Addresses:
    """What one URL for everything (BLOOMWEAVER_STORE) means for each port; a port's own URL wins."""
    scheme = places.scheme(store, known=STORES, what="store")
    kept = (places.sqlite_path(store).parent / BLOBS_FOLDER).as_uri() if scheme == "sqlite" else store
    return Addresses(database=store, queues=queues or store, blobs=blobs or kept, vectors=vectors or store)


@contextlib.asynccontextmanager
async def open_store(
    addresses: Addresses,
    *,
    clock: clock.Clock,
    nonces: clock.Nonces,
    recorder: Recorder | None = None,
    access: Access | None = None,
) -> AsyncIterator[Store]:
    """All ports of `addresses`, open until the context ends; measured where there is somebody to tell."""
    async with contextlib.AsyncExitStack() as stack:
        access = access or Access()
        engines = _Engines(stack, clock=clock, nonces=nonces, access=access)
        store = Store(
            database=await _database(addresses.database, engines),
            queues=await _queues(addresses.queues, engines, stack, clock=clock),
            blobs=await _blobs(addresses.blobs, engines, stack, clock=clock),
            vectors=await _vectors(addresses.vectors, engines, stack),
        )
        if recorder is not None:
            store = _measured(store, addresses, recorder, clock=clock)
        if access.cache is not None:
            cache = await opening_servers.cache(access.cache, stack, clock=clock)
            remembering = opening_servers.remembering(store.vectors, cache)
            store = replace(store, cache=cache, leases=cache, vectors=remembering)
        elif addresses.database.startswith("postgresql:"):
            store = replace(store, leases=await engines.postgresql.leases(addresses.database, clock=clock))
        yield store


class Wishes(Protocol):
    """What a process says of its stores; `runtime.settings.ProcessSettings` is one."""

    @property
    def store(self) -> str: ...
    @property
    def queues(self) -> str | None: ...
    @property
    def blobs(self) -> str | None: ...
    @property
    def vectors(self) -> str | None: ...
    @property
    def cache(self) -> str | None: ...
    def password(self) -> str | None: ...


@contextlib.asynccontextmanager
async def open_ports(
    wishes: Wishes, *, clock: clock.Clock, nonces: clock.Nonces, recorder: Recorder
) -> AsyncIterator[opened.Ports]:
    """Every port of a process, which never migrates a server's schema by itself."""
    addresses = profile(wishes.store, queues=wishes.queues, blobs=wishes.blobs, vectors=wishes.vectors)
    access = Access(postgresql_password=wishes.password, migrates=False, cache=wishes.cache)
    async with open_store(addresses, clock=clock, nonces=nonces, recorder=recorder, access=access) as store:
        yield await all_ports(store, clock=clock, nonces=nonces)


async def all_ports(store: Store, *, clock: clock.Clock, nonces: clock.Nonces) -> opened.Ports:
    """Everything that services are built on."""
    database = store.database
    return opened.Ports(
        ledger=database.ledger,
        healing=database.healing,
        registry=database.registry,
        history=database.history,
        queues=store.queues,
        blobs=store.blobs,
        vectors=store.vectors,
        cache=store.cache,
        leases=store.leases,
        clock=clock,
        nonces=nonces,
        deployment=await database.registry.deployment(),
    )


async def migrate(
    addresses: Addresses, *, clock: clock.Clock, nonces: clock.Nonces, access: Access, restored: bool
) -> "Sequence[migrations.Migrated | tables.Migrated]":
    """Bring what is on servers to this release. restored: the database came from a backup."""
    parts = zip(("ledger", "queues", "blobs", "vectors"), astuple(addresses), strict=True)
    ours = {component: url for component, url in parts if url.startswith("postgresql:")}
    async with contextlib.AsyncExitStack() as stack:
        engines = _Engines(stack, clock=clock, nonces=nonces, access=access)
        done: list[migrations.Migrated | tables.Migrated] = [*(await engines.postgresql.migrate(ours) if ours else ())]
        if addresses.database.startswith("dynamodb:"):
            from bloomweaver.adapters import opening_dynamodb

            done.append(await opening_dynamodb.migrate(addresses.database, clock=clock, nonces=nonces))
        if restored:
            await (await _database(addresses.database, engines)).registry.restored()
        return done


@contextlib.asynccontextmanager
async def open_database(
    url: str, *, clock: clock.Clock, nonces: clock.Nonces, access: Access | None = None
) -> AsyncIterator[Database]:
    """Ledger, healing, registry and history."""
    async with contextlib.AsyncExitStack() as stack:
        yield await _database(url, _Engines(stack, clock=clock, nonces=nonces, access=access))


@contextlib.asynccontextmanager
async def open_queues(url: str, *, clock: clock.Clock, nonces: clock.Nonces) -> AsyncIterator[queues.Queues]:
    """Queues alone. `open_store` shares an engine with the database, which this cannot."""
    async with contextlib.AsyncExitStack() as stack:
        yield await _queues(url, _Engines(stack, clock=clock, nonces=nonces), stack, clock=clock)


@contextlib.asynccontextmanager
async def open_blobs(url: str, *, clock: clock.Clock, nonces: clock.Nonces) -> AsyncIterator[blobs.Blobs]:
    """Blobs alone."""
    async with contextlib.AsyncExitStack() as stack:
        yield await _blobs(url, _Engines(stack, clock=clock, nonces=nonces), stack, clock=clock)


@contextlib.asynccontextmanager
async def open_vectors(url: str, *, clock: clock.Clock, nonces: clock.Nonces) -> AsyncIterator[vectors.Vectors]:
    """Vectors alone. `open_store` shares an engine with the database, which this cannot."""
    async with contextlib.AsyncExitStack() as stack:
        yield await _vectors(url, _Engines(stack, clock=clock, nonces=nonces), stack)


class _Engines:
    """One engine per URL, opened at first need, closed with the stack."""

    def __init__(
        self,
        stack: contextlib.AsyncExitStack,
        *,
        clock: clock.Clock,
        nonces: clock.Nonces,
        access: Access | None = None,
    ) -> None:
        self._access = access or Access()
        self._stack = stack
        self._clock = clock
        self._nonces = nonces
        self._open: dict[str, engine.SharingEngine] = {}
        self._servers: opening_postgresql.Servers | None = None

    @property
    def postgresql(self) -> "opening_postgresql.Servers":
        from bloomweaver.adapters import opening_postgresql

        if self._servers is None:
            self._servers = opening_postgresql.Servers(self._stack, nonces=self._nonces, access=self._access)
        return self._servers

    async def table(self, url: str) -> Database:
        from bloomweaver.adapters import opening_dynamodb

        migrates = self._access.migrates
        opening = opening_dynamodb.open_ports(url, clock=self._clock, nonces=self._nonces, migrates=migrates)
        return Database(*await self._stack.enter_async_context(opening))

    async def of(self, url: str) -> "engine.SharingEngine":
        from bloomweaver.adapters.engines.sqlite import engine

        if url not in self._open:
            if places.scheme(url, known=DATABASES, what="database") == "sqlite":
                places.make_folder(places.sqlite_path(url).parent)
            opening = engine.open_engine(url, clock=self._clock, nonces=self._nonces)
            self._open[url] = await self._stack.enter_async_context(opening)
        return self._open[url]


async def _database(url: str, engines: _Engines) -> Database:
    scheme = places.scheme(url, known=DATABASES, what="database")
    if scheme == "postgresql":
        carried = await engines.postgresql.database(url)
        return Database(carried.ledger, carried.healing, carried.registry, carried.history)
    if scheme == "dynamodb":
        return await engines.table(url)
    from bloomweaver.adapters import opening_sqlite

    return Database(*opening_sqlite.ports_on(await engines.of(url)))


def _measured(store: Store, addresses: Addresses, recorder: Recorder, *, clock: clock.Clock) -> Store:
    from bloomweaver.adapters.queues import measured as measured_queues
    from bloomweaver.adapters.vectors import measured as measured_vectors

    backend = addresses.vectors.partition("://")[0]
    return replace(
        store,
        queues=measured_queues.MeasuredQueues(store.queues, recorder),
        vectors=measured_vectors.MeasuredVectors(store.vectors, recorder, backend=backend, clock=clock),
    )


async def _queues(
    url: str, engines: _Engines, stack: contextlib.AsyncExitStack, *, clock: clock.Clock
) -> queues.Queues:
    scheme = places.scheme(url, known=QUEUES, what="queues")
    if scheme == "mem":
        from bloomweaver.adapters.queues import memory

        return memory.MemoryQueues(clock=clock)
    if scheme == "postgresql":
        return await engines.postgresql.queues(url)
    if scheme == "sqs":
        from bloomweaver.adapters.queues import sqs

        return await stack.enter_async_context(sqs.open_queues(url, clock=clock))
    from bloomweaver.adapters.queues import sqlite

    return sqlite.SqliteQueues(await engines.of(url))


async def _blobs(url: str, engines: _Engines, stack: contextlib.AsyncExitStack, *, clock: clock.Clock) -> blobs.Blobs:
    scheme = places.scheme(url, known=BLOBS, what="blobs")
    if scheme == "mem":
        from bloomweaver.adapters.blobs import memory

        return memory.MemoryBlobs(clock=clock)
    if scheme == "postgresql":
        return await engines.postgresql.blobs(url)
    if scheme == "s3":
        from bloomweaver.adapters.blobs import s3

        return await stack.enter_async_context(s3.open_blobs(url))
    from bloomweaver.adapters.blobs import files

    opened = files.FileBlobs(places.folder(url), clock=clock)
    stack.callback(opened.close)
    return opened


async def _vectors(url: str, engines: _Engines, stack: contextlib.AsyncExitStack) -> vectors.Vectors:
    scheme = places.scheme(url, known=VECTORS, what="vectors")
    if scheme == "mem":
        from bloomweaver.adapters.vectors import memory

        return memory.MemoryVectors()
    if scheme == "postgresql":
        return await engines.postgresql.vectors(url)
    if (server := await opening_servers.vector_server(url)) is not None:
        stack.push_async_callback(server.aclose)
        return server
    from bloomweaver.adapters.vectors import sqlite

    opened = sqlite.SqliteVectors(await engines.of(url))
    stack.callback(opened.close)
    return opened


def system_clock() -> clock.Clock:
    """The machine's clocks."""
    from bloomweaver.adapters import clock as clocks

    return clocks.SystemClock()


def system_nonces() -> clock.Nonces:
    """The operating system's random numbers."""
    from bloomweaver.adapters import clock as clocks

    return clocks.SystemNonces()


def sealer(key: bytes, *, random: Callable[[int], bytes]) -> Sealer:
    """Seals secrets at rest under the deployment's key."""
    from bloomweaver.adapters import sealing

    return sealing.AesSealer(key, random=random)


open_embedder = opening_models.open_embedder
open_unproven = opening_models.open_unproven
build_int8 = opening_models.build_int8
open_peer = opening_models.open_peer
record_drift = opening_models.record_drift
resolved_model = opening_models.resolved_model
listed_models = opening_models.listed_models
