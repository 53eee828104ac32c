"""Servers that carry one port: vectors alone, or the cache. Nothing is sent to them before their first use."""

import contextlib
from typing import Protocol

from bloomweaver.adapters import places
from bloomweaver.ports import caches, vectors
from bloomweaver.ports import clock as clocks

CACHES = ("mem", "valkey", "redis")


class VectorServer(vectors.Vectors, Protocol):
    """A store that has connections to end."""

    async def aclose(self) -> None:
        """Ends them."""
        ...


async def vector_server(url: str) -> VectorServer | None:
    """The store that a URL names, None where its scheme is no server's for vectors alone."""
    scheme = url.partition("://")[0]
    if scheme == "pinecone":
        from bloomweaver.adapters.vectors import pinecone

        return await pinecone.open_vectors(url)
    if scheme == "opensearch":
        from bloomweaver.adapters.vectors import opensearch

        return await opensearch.open_vectors(url)
    if scheme == "chroma":
        from bloomweaver.adapters.vectors import chroma

        return await chroma.open_vectors(url)
    return None


async def cache(url: str, stack: contextlib.AsyncExitStack, *, clock: clocks.Clock) -> caches.Cache:
    """The cache that a URL names; Redis speaks as Valkey does."""
    if places.scheme(url, known=CACHES, what="the cache") == "mem":
        from bloomweaver.adapters.caches import memory

        return memory.MemoryCache(clock=clock)
    from bloomweaver.adapters.caches import valkey

    opened = await valkey.open_cache(url, clock=clock)
    stack.push_async_callback(opened.aclose)
    return opened


def remembering(store: vectors.Vectors, cache: caches.Cache) -> vectors.Vectors:
    """The store with its candidates remembered."""
    from bloomweaver.adapters.vectors import cached

    return cached.CachedVectors(store, cache)
