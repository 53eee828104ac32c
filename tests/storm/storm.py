"""A storm from the first event to the verdict: real processes, a real PostgreSQL, kills, faults, a model that judges.

In the `postgresql` kind everything is on PostgreSQL, two processes have clocks that are two hours wrong. In `servers`
the queues are in the double of SQS, the vectors in the fake of Pinecone (late writes and lost answers all along), the
blobs on a small disk of their own; one process's clock is four minutes wrong. In `queues` the queues are in ElasticMQ,
which speaks SQS's protocol, and the rest is on PostgreSQL. The embedder is `mem://`: no model.
"""

import asyncio
import contextlib
import itertools
import pathlib
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bloomweaver.adapters import opening
from bloomweaver.domain import documents, identity
from tests.storm import clients, faults, fleet, model, servers
from tests.support import aws, keys, running

DISK_BYTES = 512 * 1024 * 1024
VISIBILITY_SECONDS = 5
LOOKED = 200
TELL_SECONDS = 20.0
AUTHORS = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of what. seconds: over which the events are spread at least."""

    kind: str
    events: int
    kills: int
    seconds: float
    fault_seconds: float
    documents: int
    settle_seconds: float
    seed: int = 0
    batch: int = 30


@dataclass
class Verdict:
    """What came of it."""

    plan: Plan
    violations: list[str] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    audit: Mapping[str, Any] = field(default_factory=dict)
    acknowledged: int = 0
    searches: int = 0
    hits: int = 0
    documents: int = 0
    deleted: int = 0
    storm_seconds: float = 0.0
    settle_seconds: float = 0.0


@dataclass
class Place:
    """The servers of a storm, and what tells processes of them."""

    postgresql: servers.Postgresql
    proxy: servers.Proxy
    variables: dict[str, str]
    queue: servers.Double | servers.ElasticMQ | None = None
    vectors: servers.Double | None = None
    disk: pathlib.Path | None = None

    def addresses(self) -> opening.Addresses:
        """For the harness itself, past the proxy."""
        told = self.variables
        return opening.profile(
            self.postgresql.url(), queues=told.get("BLOOMWEAVER_QUEUES"), blobs=told.get("BLOOMWEAVER_BLOBS"),
            vectors=told.get("BLOOMWEAVER_VECTORS"),
        )  # fmt: skip

    def open(self) -> Any:
        """Every port."""
        access = opening.Access(postgresql_password=lambda: self.postgresql.password)
        return opening.open_store(
            self.addresses(), clock=opening.system_clock(), nonces=opening.system_nonces(), access=access
        )


@contextlib.asynccontextmanager
async def placed(kind: str, folder: pathlib.Path) -> AsyncIterator[Place]:
    """The servers, running; `processes.Absent` where one cannot be had."""
    async with contextlib.AsyncExitStack() as stack:
        server = stack.enter_context(servers.postgresql_server())
        proxy = await stack.enter_async_context(servers.proxy(server.port))
        password = folder / "password"
        password.touch(mode=0o600)
        password.write_text(server.password)
        variables = {"BLOOMWEAVER_POSTGRESQL_PASSWORD_FILE": str(password)}
        variables["BLOOMWEAVER_VISIBILITY_SECONDS"] = str(VISIBILITY_SECONDS)
        place = Place(server, proxy, variables)
        if kind == "servers":
            _beside(place, folder, stack)
        elif kind == "queues":
            _queues(place, folder, stack)
        yield place


def _beside(place: Place, folder: pathlib.Path, stack: contextlib.AsyncExitStack) -> None:
    place.disk = stack.enter_context(servers.small_disk(folder / "disk", size_bytes=DISK_BYTES))
    place.queue = servers.Double("bloomweaver.testing.sqs_wire", "--duplicate=0.05", "--reorder=0.2", "--late=0.05")
    place.vectors = servers.Double("tests.storm.pinecone")
    for double in (place.queue, place.vectors):
        stack.callback(double.kill)
        double.start()
    keys = aws.credentials_file(folder)
    api_key = folder / "api-key"
    api_key.write_text("any")
    place.variables |= {
        "BLOOMWEAVER_QUEUES": aws.url("sqs://us-east-1/storm", endpoint=place.queue.url, credentials_file=keys),
        "BLOOMWEAVER_VECTORS": f"pinecone://index?controller={place.vectors.url}&key_file={api_key}",
        "BLOOMWEAVER_BLOBS": (place.disk / "blobs").as_uri(),
    }


def _queues(place: Place, folder: pathlib.Path, stack: contextlib.AsyncExitStack) -> None:
    place.queue = servers.ElasticMQ()
    stack.callback(place.queue.kill)
    place.queue.start()
    keys = aws.credentials_file(folder)
    url = aws.url("sqs://us-east-1/storm", endpoint=place.queue.url, credentials_file=keys)
    place.variables["BLOOMWEAVER_QUEUES"] = url


class Storm:
    """One storm over servers that are there."""

    def __init__(self, plan: Plan, place: Place, folder: pathlib.Path) -> None:
        self._plan, self._place = plan, place
        self._dice = random.Random(plan.seed)
        services = running.Services(folder, store=place.postgresql.url(place.proxy.port), extra=place.variables)
        self.fleet = fleet.Fleet(services)
        self._pace = clients.Pace(plan.events, plan.seconds)
        self._models = [model.Model("arrival", ordered=False), model.Model("source", ordered=True)]
        self.verdict = Verdict(plan)

    async def run(self) -> Verdict:
        """All of it."""
        secret = await self._prepared()
        keeping: asyncio.Task[None] | None = None
        try:
            self._begin()
            keeping = asyncio.create_task(self.fleet.keep())
            async with clients.caller(secret, self.fleet.ports) as caller:
                await self._collections(caller)
                await self._blow(caller)
                await self._settle(caller)
                await self._judge(caller)
                self.verdict.answers = caller.answers
                self.verdict.violations += caller.unexpected
        finally:
            if keeping is not None:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)
            self.fleet.close()
        return self._told()

    def _begin(self) -> None:
        hours, minutes = 7200.0, 240.0
        skews = (
            {"reconciler": hours, "writer --operation=update": -hours}
            if self._plan.kind == "postgresql"
            else {"reconciler": minutes}
        )
        for label in fleet.PARTS:
            self.fleet.begin(label, skew_seconds=skews.get(label, 0.0))

    async def _prepared(self) -> str:
        """The schema, and a key that may do everything."""
        async with self._place.open() as store:
            return await keys.added(store, name="storm")

    async def _collections(self, caller: clients.Caller) -> None:
        for one in self._models:
            body = {"ordering": one.collection, "chunking": {"max_tokens": model.CHUNK_TOKENS, "overlap_tokens": 0}}
            answer = await caller.ask("webhook", "PUT", f"/v1/collections/{one.collection}", json=body)
            assert answer.status_code in (200, 201), answer.text

    async def _blow(self, caller: clients.Caller) -> None:
        began = time.monotonic()
        self._pace.began = began
        turns = itertools.count(1)
        director = faults.Director(
            self.fleet, self._pace, self._dice, kills=self._plan.kills, fault_seconds=self._plan.fault_seconds
        )
        sending = []
        for number in range(AUTHORS * 2):
            author = model.Author(
                self._models[number % 2], f"doc{number}", self._plan.documents // (AUTHORS * 2),
                random.Random(f"{self._plan.seed} {number}"), turns,
            )  # fmt: skip
            sending.append(clients.Client(caller, author, self._pace, batch=self._plan.batch))
        try:
            async with asyncio.TaskGroup() as group:
                for client in sending:
                    group.create_task(client.run())
                for one in self._models:
                    group.create_task(clients.watch(caller, one, self._pace, self._dice))
                group.create_task(director.kill())
                group.create_task(director.trouble(self._faults(director)))
                group.create_task(self._tell())
        except* AssertionError as refused:
            self.verdict.violations += [str(error) for error in refused.exceptions]
        self.verdict.happened = director.happened
        for client in sending:
            self.verdict.outcomes += client.outcomes
        self.verdict.storm_seconds = time.monotonic() - began

    async def _tell(self) -> None:
        """How far it is, for who watches."""
        while not self._pace.over:
            await asyncio.sleep(TELL_SECONDS)
            wrong = sum(len(one.violations) for one in self._models)
            done = f"{self._pace.sent:,} of {self._plan.events:,} events, {sum(self.fleet.kills.values())} kills"
            print(f"storm {self._plan.kind}: {done}, {wrong} violations", file=sys.stderr, flush=True)

    def _faults(self, director: faults.Director) -> dict[str, faults.Fault]:
        place = self._place
        if isinstance(place.queue, servers.ElasticMQ):
            return director.of_queues(place.queue, place.postgresql)
        if place.queue is None or place.vectors is None or place.disk is None:
            return director.of_postgresql(place.postgresql, place.proxy)
        return director.of_doubles(place.queue, place.vectors, place.disk)

    async def _settle(self, caller: clients.Caller) -> None:
        """Until nothing waits any more."""
        began = time.monotonic()
        while True:
            counts = (await caller.ask("webhook", "GET", "/v1/status")).json()["counts"]
            waiting = sum(counts.get(state, 0) for state in ("pending", "indexing", "updating"))
            self.verdict.settle_seconds = time.monotonic() - began
            if not waiting or self.verdict.settle_seconds > self._plan.settle_seconds:
                break
            await asyncio.sleep(0.5)
        if waiting:
            self.verdict.violations.append(
                f"{waiting} documents still wait after {self._plan.settle_seconds:g} s: {counts}"
            )
        if counts.get("failed"):
            self.verdict.violations.append(f"{counts['failed']} documents failed: {await self._dead(caller)}")

    async def _dead(self, caller: clients.Caller) -> str:
        items = (await caller.ask("webhook", "GET", "/v1/dead-letters?limit=5")).json()["items"]
        return "; ".join(f"{item['document_id']}: {item['reason']} {item.get('detail', '')}" for item in items)

    async def _judge(self, caller: clients.Caller) -> None:
        """The audit, every document by search, and every row."""
        audit = (await caller.ask("reconciler", "POST", "/v1/audit", json={}, timeout=300.0)).json()
        self.verdict.audit = audit
        if not audit["clean"] or audit["resurrected"] or audit["pending"]:
            self.verdict.violations.append(f"the audit says {audit}")
        for one in self._models:
            await clients.search(caller, one, list(one.documents), end=True)
        async with self._place.open() as store:
            collections = {found.name: found.uid for found in await store.database.registry.collections()}
            for one in self._models:
                await self._judge_rows(one, collections[one.collection], store.database.ledger)

    async def _judge_rows(self, one: model.Model, uid: identity.CollectionUid, ledger: Any) -> None:
        names = list(one.documents)
        for start in range(0, len(names), LOOKED):
            part = names[start : start + LOOKED]
            keys = [documents.DocumentKey(uid, identity.DocumentId(name)) for name in part]
            for name, look in zip(part, await ledger.look(keys), strict=True):
                known = one.documents[name]
                expected = (documents.State.SEARCHABLE, known.seq, _hash(known.turn)) if known.turn else None
                row = look.row if look is not None else None
                found = (row.state, row.seq, row.content_hash) if row is not None and not row.tomb else None
                if found != expected:
                    self.verdict.violations.append(f"{one.collection}/{name} is {found} in the ledger, not {expected}")

    def _told(self) -> Verdict:
        verdict = self.verdict
        verdict.kills, verdict.ended = self.fleet.kills, self.fleet.ended
        verdict.acknowledged = self._pace.sent
        for one in self._models:
            verdict.violations += one.violations
            verdict.searches += one.searched
            verdict.hits += one.hits_seen
            verdict.documents += len(one.documents)
            verdict.deleted += sum(not known.exists for known in one.documents.values())
        if tracebacks := self.fleet.tracebacks():
            verdict.violations.append(f"{tracebacks} errors of ours are in the logs")
        return verdict


def _hash(turn: int) -> str:
    return identity.content_hash("text/plain", model.text_of(turn).encode())


async def storm(plan: Plan, folder: pathlib.Path) -> Verdict:
    """Servers, processes, storm, verdict."""
    async with placed(plan.kind, folder) as place:
        return await Storm(plan, place, folder).run()
