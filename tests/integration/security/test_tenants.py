"""What one tenant may try to reach another's documents, on every store of vectors, with and without a cache."""

import collections
import contextlib
import dataclasses
import json
import secrets
import time
import urllib.parse
from typing import Any

import httpx2
import pytest

from bloomweaver.adapters import clock
from bloomweaver.adapters.caches import memory as caches
from bloomweaver.adapters.caches import valkey
from bloomweaver.adapters.engines.postgresql import engine as postgresql_engine
from bloomweaver.adapters.vectors import cached, chroma, opensearch, pinecone, postgresql
from bloomweaver.domain import errors, identity, signatures
from bloomweaver.domain.events import Lane
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import queues
from bloomweaver.testing.pinecone_wire import faults, service, serving
from bloomweaver.writer import service as writer_service
from tests.support import crossing, pipelines, served

ATTEMPTS = 500
OTHER = "globex"
PATIENCE_SECONDS = 60.0
STORES = ["memory", "sqlite", "postgresql", "pgvector", "chroma-folder", "chroma-server", "opensearch", "pinecone"]
CACHED = ["pinecone-cached", "pinecone-valkey"]


@pytest.fixture(params=[*STORES, *CACHED])
async def options(request, tmp_path):
    """How to open a pipeline whose vectors are there. `postgresql` keeps everything there."""
    name = request.param
    if name == "memory":
        yield {}
    elif name == "sqlite":
        yield {"url": f"sqlite:///{tmp_path}/bloom.db"}
    elif name == "postgresql":
        yield {"url": request.getfixturevalue("postgresql_store_url")}
    else:
        async with contextlib.AsyncExitStack() as stack:
            store = await on_server(name, request, stack, tmp_path)
            yield {"wrap": lambda ports: dataclasses.replace(ports, vectors=store)}


async def on_server(name: str, request: Any, stack: contextlib.AsyncExitStack, tmp_path: Any) -> Any:
    """A store of vectors beside a ledger in memory."""
    if name == "pgvector":
        url = request.getfixturevalue("postgresql_store_url")
        engine = await stack.enter_async_context(postgresql_engine.open_engine(url, nonces=clock.SystemNonces()))
        store: Any = postgresql.PostgresqlVectors(engine)
    elif name == "chroma-folder":
        store = await chroma.open_vectors(f"chroma://{tmp_path}/chroma")
    elif name == "chroma-server":
        server = urllib.parse.urlsplit(request.getfixturevalue("chroma_server").url).netloc
        store = await chroma.open_vectors(f"chroma://{server}?tls=off")
    elif name == "opensearch":
        server = urllib.parse.urlsplit(request.getfixturevalue("opensearch_server").url).netloc
        prefix = f"t{secrets.token_hex(6)}"
        store = await opensearch.open_vectors(f"opensearch://{server}/{prefix}?tls=off&shards=1&replicas=0&refresh=now")
        stack.push_async_callback(store._connection.request, "DELETE", f"/{prefix}.*")
    else:
        store = await on_pinecone(stack, tmp_path)
    if not name.endswith("-server"):
        stack.push_async_callback(store.aclose)
    if name == "pinecone-cached":
        return cached.CachedVectors(store, caches.MemoryCache(clock=clock.SystemClock()), candidates_seconds=60)
    if name == "pinecone-valkey":
        server = request.getfixturevalue("valkey_server").url
        cache = await valkey.open_cache(f"{server}?tls=off", clock=clock.SystemClock(), call_seconds=60)
        stack.push_async_callback(cache.aclose)
        return cached.CachedVectors(store, cache, candidates_seconds=60)
    return store


async def on_pinecone(stack, tmp_path):
    (tmp_path / "key").write_text("key")
    wire = service.Service(dimension=8, clock=time.monotonic, faults=faults.Faults(), name="index")
    host = await stack.enter_async_context(serving.serve(wire))
    return await pinecone.open_vectors(f"pinecone://index?host={host}&key_file={tmp_path}/key")


@dataclasses.dataclass
class Two:
    """Two tenants of one deployment: whoever holds `api.secret` tries to reach what `other` has."""

    api: served.Served
    other: str
    names: crossing.Names
    client: httpx2.AsyncClient

    async def belongings(self):
        """All that the other tenant sees of its own."""
        found = {}
        for path in ("/v1/collections", "/v1/keys", "/v1/dead-letters", "/v1/batches/night-0"):
            found[path] = (await self.api.get(path, secret=self.other)).json()
        for name in ("default", "vault"):
            listed = f"/v1/collections/{name}/documents"
            for state in ("", "?state=deleted"):
                found[listed + state] = (await self.api.get(listed + state, secret=self.other)).json()
            texts = [item["document_id"] for item in found[listed]["items"]]
            for document in texts:
                path = f"{listed}/{urllib.parse.quote(document, safe='')}/text"
                found[path] = (await self.api.get(path, secret=self.other)).text
        asked = {"query": crossing.QUERY, "limit": 100}
        hits = (await self.api.post("/v1/search", json=asked, secret=self.other)).json()["hits"]
        found["hits"] = sorted((hit["collection"], hit["document_id"], hit["seq"]) for hit in hits)
        return _without_ages(found)


def _without_ages(value):
    """Without what changes while nothing happens."""
    if isinstance(value, dict):
        return {key: _without_ages(inner) for key, inner in value.items() if not key.endswith("age_seconds")}
    return [_without_ages(inner) for inner in value] if isinstance(value, list) else value


@contextlib.asynccontextmanager
async def opened(**options):
    """Both tenants with their documents, indexed; one of each failed, one was deleted."""
    async with served.opened(**options) as api:
        await furnish(api)
        other = await api.key(tenant=OTHER)
        for name in ("default", "vault"):
            for number in range(4):
                body = _document(number, name)
                answer = await api.put(f"/v1/collections/{name}/documents/memo-{number}", json=body, secret=other)
                assert answer.status_code == 202, answer.text
        own = {"text": "an own text", "title": "mine", "metadata": {"team": "b"}}
        for number in range(3):
            await api.put(f"{served.HANDBOOK}/own-{number}", json=own)
        await api.settle()
        await api.delete("/v1/collections/vault/documents/memo-3", secret=other)
        event = {
            "change_type": "upsert",
            "collection": "vault",
            "document_id": "memo-4",
            "event_id": "evt-7",
            "text": crossing.QUERY,
        }
        await api.post("/v1/events", json=event, secret=other)
        await api.put("/v1/sources/feed", json={"collection": "vault"}, secret=other)
        api.pipe.embedder.fault = _refuses
        failing = {"text": f"unreadable {crossing.CANARY}", "title": crossing.CANARY}
        await api.put("/v1/collections/vault/documents/memo-5", json=failing, secret=other)
        await api.settle()
        api.pipe.embedder.fault = None
        transport = httpx2.ASGITransport(api.app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            yield Two(api, other, await known(api, other), client)


def _document(number, name):
    text = f"{crossing.QUERY}, number {number} in {name}"
    metadata = {"team": "a", "note": crossing.CANARY, "n": number}
    return {"text": text, "title": crossing.CANARY, "metadata": metadata, "batch_id": "night-0"}


def _refuses(passages):
    raise errors.PermanentError(Reason.EMBEDDING_FAILED, "not this one")


async def furnish(api):
    """The other tenant with its collections, and writers that wait until a store shows what they wrote."""
    pipe, registered = api.pipe, api.pipe.store.database.registry
    first = await registered.generation((await pipe.collection()).uid)
    tenant = identity.TenantId(OTHER)
    await registered.ensure_tenant(tenant, pipeline=first.active)
    kind = (await pipe.collection()).ordering
    await registered.create_collection(tenant, "vault", ordering=kind, description="", pipeline=first.active)
    writer = writer_service.WriterService(
        ledger=pipe.ledger,
        queues=pipe.store.queues,
        blobs=pipe.store.blobs,
        vectors=pipe.store.vectors,
        clock=clock.SystemClock(),
        deployment=pipe.deployment,
        confirming=writer_service.Confirming(timeout_seconds=PATIENCE_SECONDS),
        on_flip=lambda collection, seconds: None,
    )
    pipe.workers.update({queues.queue_name(lane): writer for lane in (Lane.CREATE, Lane.UPDATE, Lane.DELETE)})


async def known(api, other):
    """The names of all that the other tenant has, as if somebody had told them."""
    registered, store = api.pipe.store.database.registry, api.pipe.store
    tenant = identity.TenantId(OTHER)
    uids = [collection.uid for collection in await registered.collections(tenant)]
    namespaces = [name for name in await store.vectors.namespaces("") if any(uid in name for uid in uids)]
    vectors = [each for name in namespaces async for page in store.vectors.ids(name) for each in page]
    lists = ("/v1/collections/vault/documents", "/v1/collections/default/documents", "/v1/collections")
    pages = [(await api.get(f"{path}?limit=1", secret=other)).json() for path in lists]
    source = await registered.source(tenant, "feed")
    return crossing.Names(
        documents=tuple(f"memo-{number}" for number in range(6)),
        collections=("vault",),
        uids=tuple(uids),
        namespaces=tuple(sorted(namespaces)),
        vectors=tuple(sorted(vectors)),
        events=("evt-7",),
        batches=("night-0",),
        cursors=tuple(page["next_cursor"] for page in pages),
        key_ids=tuple(key.id for key in await registered.keys(tenant)),
        sources=("feed",),
        ingests=(source.ingest_id,),
        tenant=OTHER,
    )


def unknown(names):
    """Names of the same form that nothing has."""

    def twin(values):
        return tuple(value[::-1] if len(set(value)) > 6 and "/" not in value else f"x{value[1:]}" for value in values)

    made = {each.name: twin(getattr(names, each.name)) for each in dataclasses.fields(names) if each.name != "tenant"}
    uids = tuple(secrets.token_hex(len(uid) // 2) for uid in names.uids)
    return crossing.Names(**{**made, "uids": uids, "cursors": names.cursors}, tenant="initech")


async def tell(two, attempt):
    headers = {"authorization": f"Bearer {attempt.secret or two.api.secret}"}
    more = {**attempt.more, "headers": {**headers, **attempt.more.get("headers", {})}}
    return await two.client.request(attempt.method, attempt.path, **more)


def outcome(answer):
    """What whoever asks learns beside the content."""
    problem = answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["reason"] if problem else None


@pytest.mark.timeout(900)
async def test_no_attempt_reaches_what_another_tenant_has(options, request, capsys):
    started = time.monotonic()
    async with opened(**options) as two:
        api = two.api
        before = await two.belongings()
        assert {place for place, _, _ in before["hits"]} == {"default", "vault"}
        tried: collections.Counter[str] = collections.Counter()
        leaks, told = [], []
        both = [
            crossing.attempts(1, names=names, secret=api.secret, count=ATTEMPTS)
            for names in (two.names, unknown(two.names))
        ]
        for number, (attempt, twin) in enumerate(zip(*both, strict=True)):
            if attempt.kind == "cached":
                asked = await tell(two, dataclasses.replace(attempt, secret=two.other))
                assert crossing.CANARY in asked.text
            answer, other = await tell(two, attempt), await tell(two, twin)
            tried[attempt.kind] += 1
            if crossing.CANARY in answer.text + other.text:
                leaks.append(attempt)
            # The id of an ingest URL is random and as good as a secret: who has it may be told that it exists.
            if attempt.kind != "ingest" and outcome(answer) != outcome(other):
                told.append((attempt, outcome(answer), outcome(other)))
            assert answer.status_code < 500, (attempt, answer.text)
            if number % 100 == 99:
                await api.settle()
        await api.settle()
        assert leaks == []
        assert told == [], told[:3]
        assert await two.belongings() == before
    seconds = time.monotonic() - started
    kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(tried.items()))
    with capsys.disabled():
        print(f"\n{request.node.callspec.id}: {tried.total()} attempts ({kinds}), {len(leaks)} leaks, {seconds:.1f} s")


async def test_the_same_attempts_with_the_other_tenants_own_key_would_have_been_leaks():
    async with opened() as two:
        found = 0
        for attempt in crossing.attempts(1, names=two.names, secret=two.api.secret, count=ATTEMPTS):
            if attempt.method == "GET" or attempt.path == "/v1/search":
                answer = await tell(two, dataclasses.replace(attempt, secret=two.other))
                found += crossing.CANARY in answer.text
        assert found >= 50, found


async def test_a_signature_of_one_tenants_source_is_none_for_another_tenants_source():
    async with opened() as two:
        own = (await two.api.put("/v1/sources/mine", json={"collection": "default"})).json()
        secret = signatures.parse_secret(own["secret"])
        body = b'{"change_type":"upsert","document_id":"memo-0","text":"taken"}'
        now = int(two.api.pipe.clock.now())
        signed = signatures.sign(body, secret=secret, webhook_id="w1", timestamp_seconds=now)
        headers = {"content-type": "application/json", **signed}
        refused = await two.api.post(f"/v1/ingest/{two.names.ingests[0]}", content=body, headers=headers, secret="")
        assert refused.status_code == 401
        taken = await two.api.post(own["ingest_url"], content=body, headers=headers, secret="")
        assert taken.status_code == 202


async def test_both_tenants_may_have_a_document_of_one_name_and_each_finds_its_own():
    async with opened() as two:
        await two.api.index("memo-0", "an own text")
        mine = (await two.api.post("/v1/search", json={"query": "text", "limit": 100})).json()["hits"]
        assert "memo-0" in {hit["document_id"] for hit in mine}
        assert crossing.CANARY not in json.dumps(mine)
        await two.api.delete(f"{served.HANDBOOK}/memo-0")
        theirs = await two.api.get(f"{served.HANDBOOK}/memo-0/text", secret=two.other)
        assert crossing.CANARY in theirs.text


async def test_a_key_is_revoked_by_its_own_tenant_only():
    async with opened() as two:
        registered = two.api.pipe.store.database.registry
        stolen = (await registered.keys(identity.TenantId(OTHER)))[0]
        assert not await registered.revoke_key(pipelines.TENANT, stolen.id)
        assert (await registered.key(stolen.id)).tenant == OTHER
