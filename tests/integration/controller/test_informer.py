"""The watches, by kopf against a mock of the Kubernetes API."""

import asyncio
import contextlib
import threading

import httpx2
import kmock

from bloomweaver.controller import access, apply, cache, informer, resources

RESOURCE_INFO = kmock.ResourceInfo
SECONDS = 120
RESOURCE = {
    "apiVersion": resources.API_VERSION,
    "kind": resources.KIND,
    "metadata": {"name": "minilm", "namespace": "kb", "uid": "u-1", "resourceVersion": "1"},
    "spec": {"model": {"name": "all-minilm-l6-v2", "dimensions": 384, "maxTokens": 256}},
}


async def test_what_is_there_and_what_is_deleted_reaches_cache_and_queue(kmock: kmock.KubernetesEmulator):
    models = kmock.resource(resources.GROUP, resources.VERSION, resources.PLURAL)
    kmock.resources["v1/namespaces"] = RESOURCE_INFO(kind="Namespace", namespaced=False, verbs={"list", "watch"})
    kmock.resources[models] = RESOURCE_INFO(kind=resources.KIND, namespaced=True, verbs={"list", "watch", "delete"})
    kmock.objects[models, "kb", "minilm"] = RESOURCE
    changed: asyncio.Queue[str] = asyncio.Queue()
    known = cache.Cache()
    entered = access.Access(str(kmock.url))
    threads: set[int] = set()

    def note(key: str) -> None:
        threads.add(threading.get_ident())
        changed.put_nowait(key)

    watches = informer.Informer(entered, known, namespace="kb", kinds=(), on_change=note)
    running = asyncio.create_task(watches.run())
    try:
        assert await asyncio.wait_for(changed.get(), SECONDS) == "kb/minilm"
        assert known.named() == ["kb/minilm"]
        async with httpx2.AsyncClient() as http:
            await apply.Cluster(http, entered).delete(resources.KIND, namespace="kb", name="minilm")
        async with asyncio.timeout(SECONDS):
            while known.named():  # a list and a watch may each have told of it before
                await changed.get()
        # The cache and the queue are the loop's: nobody notes anything from a thread.
        assert threads == {threading.get_ident()}
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
