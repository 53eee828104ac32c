"""The whole pipeline over each store of vectors: shown, replaced, not shown after a delete, removed, audited clean."""

import asyncio
import contextlib
import dataclasses
import random
import secrets
import time
import urllib.parse
from typing import Any

import pytest

from bloomweaver.adapters import clock
from bloomweaver.adapters.caches import memory as caches
from bloomweaver.adapters.vectors import cached, chroma, opensearch, pinecone
from bloomweaver.domain.errors import TransientError
from bloomweaver.domain.events import Lane
from bloomweaver.ports import queues
from bloomweaver.reconciler import auditing
from bloomweaver.testing.pinecone_wire import faults, service, serving
from bloomweaver.writer import service as writer_service
from tests.support import pipelines

PATIENCE_SECONDS = 60.0


def wire(**faulty):
    return service.Service(dimension=8, clock=time.monotonic, faults=faults.Faults(**faulty), name="index")


@contextlib.asynccontextmanager
async def on_pinecone(tmp_path, held, *, options=""):
    """A store over the wire."""
    (tmp_path / "key").write_text("key")
    async with serving.serve(held) as host:
        store = await pinecone.open_vectors(f"pinecone://index?host={host}&key_file={tmp_path}/key{options}")
        yield store
        await store.aclose()


@pytest.fixture(params=["pinecone", "pinecone-lagging", "pinecone-without-positions", "opensearch", "chroma-folder",
                        "chroma-server"])  # fmt: skip
async def vectors(request, tmp_path):
    store: Any
    async with contextlib.AsyncExitStack() as stack:
        name = request.param
        if name == "pinecone":
            yield await stack.enter_async_context(on_pinecone(tmp_path, wire()))
        elif name == "pinecone-lagging":
            yield await stack.enter_async_context(on_pinecone(tmp_path, wire(lag_seconds=0.1)))
        elif name == "pinecone-without-positions":
            held = wire(lag_seconds=0.1, positions=False)
            yield await stack.enter_async_context(on_pinecone(tmp_path, held, options="&positions=off"))
        elif name == "opensearch":
            server = urllib.parse.urlsplit(request.getfixturevalue("opensearch_server").url).netloc
            prefix = f"t{secrets.token_hex(6)}"
            store = await opensearch.open_vectors(f"opensearch://{server}/{prefix}?tls=off&shards=1&replicas=0")
            stack.push_async_callback(store.aclose)
            yield store
            await store._connection.request("DELETE", f"/{prefix}.*")
        elif name == "chroma-folder":
            store = await chroma.open_vectors(f"chroma://{tmp_path}/chroma")
            stack.push_async_callback(store.aclose)
            yield store
        else:
            server = urllib.parse.urlsplit(request.getfixturevalue("chroma_server").url).netloc
            store = await chroma.open_vectors(f"chroma://{server}?tls=off")
            stack.push_async_callback(store.aclose)
            # The server is lent to other tests as well, whose deployments have the name of this one.
            await emptied(store)
            yield store
            await emptied(store)


async def emptied(store):
    for namespace in await store.namespaces(""):
        await store.drop(namespace)


@contextlib.asynccontextmanager
async def piped(vectors):
    """The pipeline over that store; writers wait until it shows what they wrote."""
    async with pipelines.opened(wrap=lambda store: dataclasses.replace(store, vectors=vectors)) as pipe:
        writer = writer_service.WriterService(
            ledger=pipe.ledger,
            queues=pipe.store.queues,
            blobs=pipe.store.blobs,
            vectors=vectors,
            clock=clock.SystemClock(),
            deployment=pipe.deployment,
            confirming=writer_service.Confirming(timeout_seconds=PATIENCE_SECONDS),
            on_flip=lambda collection, seconds: None,
        )
        pipe.workers.update({queues.queue_name(lane): writer for lane in (Lane.CREATE, Lane.UPDATE, Lane.DELETE)})
        yield pipe


async def test_what_was_sent_is_what_is_searchable(vectors):
    async with piped(vectors) as pipe:
        for name in ("a", "b", "c"):
            await pipe.put(name, f"old text of {name} " * 30)
        await pipe.settle()
        assert set(await pipe.find("old text of a")) == {"a", "b", "c"}
        await pipe.put("a", "quite another story")
        await pipe.delete("b")
        assert "b" not in await pipe.find("old text of b")
        await pipe.settle()
        assert (await pipe.find("quite another story"))[0] == "a"
        assert "b" not in await pipe.find("old text of b")
        for _ in range(2):  # dead vectors are removed twice
            pipe.clock.advance(1200.0)
            await pipe.reconciler.round()
            await pipe.settle()
        audited = await agreed(pipe)
        assert (audited.clean, audited.pending) == (True, 0), audited.examples
        assert await versions_stored(pipe) == 2


async def test_a_namespace_that_was_lost_is_refilled_without_embedding(vectors):
    async with piped(vectors) as pipe:
        await pipe.put("a", "one two three " * 30)
        await pipe.settle()
        for namespace in await vectors.namespaces(f"{pipe.deployment}."):
            await vectors.drop(namespace)
        embedded: list[int] = []
        pipe.embedder.fault = lambda passages: embedded.append(len(passages))
        assert (await auditor(pipe).audit(repair=True)).lost > 0
        assert embedded == []
        pipe.embedder.fault = None
        assert (await agreed(pipe)).clean
        assert await pipe.find("one two three") != []


@pytest.mark.parametrize("seed", range(3))
async def test_pinecone_may_misbehave_as_it_likes(tmp_path, seed):
    chance = random.Random(seed)
    held = wire(lag_seconds=0.02, throttle=0.1, unavailable=0.05, lost_answer=0.05, partial=0.05, late=0.05,
                late_seconds=0.1, seed=seed)  # fmt: skip
    async with on_pinecone(tmp_path, held) as store, piped(store) as pipe:
        wanted: dict[str, str | None] = {}
        for number in range(40):
            name, text = f"doc-{chance.randrange(8)}", f"text number {number} " * 20
            if chance.random() < 0.25 and wanted.get(name):
                await pipe.delete(name)
                wanted[name] = None
                assert name not in await patiently(pipe.find, f"text of {name}")
            else:
                await pipe.put(name, text)
                wanted[name] = text
            if number % 4 == 0:
                await healed(pipe)
        held.faults.throttle = held.faults.unavailable = held.faults.lost_answer = 0.0
        held.faults.partial = held.faults.late = 0.0
        await asyncio.sleep(0.2)  # until the last late write has landed
        for _ in range(4):
            await healed(pipe)
        assert sum(held.faults.seen.values()) > 10, "it was well-behaved"
        audited = await agreed(pipe)
        assert (audited.clean, audited.pending) == (True, 0), audited.examples
        shown = {name for name, text in wanted.items() if text}
        assert set(await pipe.find("text number", limit=100)) == shown


async def test_what_a_cache_remembers_of_a_deleted_document_is_not_shown(tmp_path):
    held = wire()
    async with on_pinecone(tmp_path, held) as store:
        remembered = cached.CachedVectors(store, caches.MemoryCache(clock=clock.SystemClock()), candidates_seconds=60)
        async with piped(remembered) as pipe:
            for name in ("a", "b"):
                await pipe.put(name, f"some text of {name}")
            await pipe.settle()
            assert set(await pipe.find("some text")) == {"a", "b"}
            asked = held.requests["queryVectors"]
            assert set(await pipe.find("some text")) == {"a", "b"}
            assert held.requests["queryVectors"] == asked
            await pipe.delete("a")
            assert await pipe.find("some text") == ["b"]
            assert held.requests["queryVectors"] == asked
            await pipe.put("b", "a fresh story")
            await pipe.settle()
            assert await pipe.find("some text") == ["b"]


async def healed(pipe):
    """Time passes, and the reconciler and the workers do what is due; outages are met again later."""
    pipe.clock.advance(1200.0)
    for call in (pipe.reconciler.round, pipe.settle):
        with contextlib.suppress(TransientError):
            await call()


async def patiently(call, *arguments):
    """Again until the store answers."""
    while True:
        with contextlib.suppress(TransientError):
            return await call(*arguments)


async def agreed(pipe):
    """What the audit finds, once the store has come so far that it can be clean."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = await auditor(pipe).audit(repair=False)
        if found.clean or time.monotonic() > give_up:
            return found
        await asyncio.sleep(0.1)


async def versions_stored(pipe):
    """How many versions have vectors in the store."""
    return len({vector_id.rpartition("/")[0] for vector_id in await pipe.stored_ids()})


def auditor(pipe):
    return auditing.Auditor(
        ledger=pipe.ledger,
        healing=pipe.store.database.healing,
        registry=pipe.store.database.registry,
        blobs=pipe.store.blobs,
        vectors=pipe.store.vectors,
        sweeper=pipe.reconciler.sweeper,
        deployment=pipe.deployment,
    )
