"""`opensearch://HOST:PORT/PREFIX`: vectors in one index per dimension, which all namespaces share.

An index per namespace would be a shard per namespace, and a cluster has room for a few thousand; so the namespace is a
term that every query filters by, and the route that keeps a namespace on one shard. OpenSearch has no positions: a
write returns when the next refresh has made it visible on every copy, and callers probe by searching.
"""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np

from bloomweaver.adapters.engines import addresses
from bloomweaver.adapters.vectors import opensearch_connection as connections
from bloomweaver.adapters.vectors import opensearch_documents as documents
from bloomweaver.adapters.vectors import records as checks
from bloomweaver.domain import errors, filters
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import vectors

MAX_RECORDS = 1000
MAX_K = 9_999
"""One less than an index answers at most, because one more is asked for to know whether there is more."""
BEAM = 256
"""Candidates that a graph is searched for, however few are wanted: with ten, one of two is not the nearest."""
REQUEST_BYTES = 5 * 1024 * 1024
PAGE = 1000
DROPPED = 10_000


class OpenSearchVectors:
    """See the module."""

    capabilities = vectors.Capabilities(
        read_barrier=False, list_ids=True, filters=True, max_batch=MAX_RECORDS, max_k=MAX_K
    )

    def __init__(self, connection: connections.Connection) -> None:
        self._connection = connection
        self._address = connection.address
        self._known: set[int] = set()

    async def aclose(self) -> None:
        """Ends the connections."""
        await self._connection.aclose()

    async def upsert(self, namespace: str, records: Sequence[vectors.Record]) -> int | None:
        dimension = checks.check(records, dimension=None, max_batch=MAX_RECORDS)
        if dimension is None:
            return None
        await self._made(dimension)
        entries = [self._entry(namespace, record) for record in records]
        await self._bulk(self._index(dimension), namespace, entries, waits=True)
        return None

    async def delete(self, namespace: str, ids: Sequence[str]) -> None:
        lines = [(json.dumps({"delete": {"_id": documents.key(namespace, vector_id)}}),) for vector_id in ids]
        for index in await self._indices() if lines else ():
            await self._bulk(index, namespace, lines, waits=False)

    async def query(
        self, namespace: str, vector: vectors.Vector, *, k: int, where: filters.Filter | None = None
    ) -> vectors.Matches:
        checks.check_query(vector, dimension=len(vector))
        wanted = min(k, MAX_K) + 1
        narrow = [{"term": {"namespace": namespace}}] + ([documents.query(where)] if where is not None else [])
        near = {
            "vector": np.asarray(vector, np.float64).round(9).tolist(),
            "k": max(wanted, BEAM),
            "filter": {"bool": {"filter": narrow}},
        }
        hits = await self._search(
            self._index(len(vector)),
            {"size": wanted, "query": {"knn": {"vector": near}}, "docvalue_fields": list(documents.FIELDS)},
            namespace=namespace,
        )
        matches = tuple(documents.match(hit) for hit in hits[: wanted - 1])
        return vectors.Matches(matches, None, more=len(hits) == wanted)

    async def present(self, namespace: str, ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(ids), PAGE):
            part = ids[start : start + PAGE]
            keys = [documents.key(namespace, vector_id) for vector_id in part]
            body = {"size": len(part), "query": {"ids": {"values": keys}}}
            hits = await self._search(self._index("*"), body, namespace=namespace)
            found.update(hit["_id"].removeprefix(documents.key(namespace, "")) for hit in hits)
        return found

    async def ids(self, namespace: str, *, prefix: str = "") -> AsyncIterator[list[str]]:
        wanted = [{"term": {"namespace": namespace}}, {"prefix": {"id": prefix}}]
        body: dict[str, Any] = {"size": PAGE, "query": {"bool": {"filter": wanted}}, "sort": [{"id": "asc"}]}
        while hits := await self._search(self._index("*"), body, namespace=namespace):
            yield [hit["sort"][0] for hit in hits]
            body["search_after"] = hits[-1]["sort"]

    async def namespaces(self, prefix: str) -> list[str]:
        each: dict[str, Any] = {"size": PAGE, "sources": [{"namespace": {"terms": {"field": "namespace"}}}]}
        body = {"size": 0, "query": {"prefix": {"namespace": prefix}}, "aggs": {"all": {"composite": each}}}
        names: list[str] = []
        while True:
            answer = await self._asked("POST", f"/{self._index('*')}/_search", body, {"allow_no_indices": "true"})
            found = answer.get("aggregations", {}).get("all", {}).get("buckets", [])
            names.extend(bucket["key"]["namespace"] for bucket in found)
            if len(found) < PAGE:
                return names
            each["after"] = found[-1]["key"]

    async def drop(self, namespace: str) -> None:
        for index in await self._indices():
            # What is removed by a query is only what a search would find.
            await self._asked("POST", f"/{index}/_refresh")
            parameters = {"refresh": "true", "conflicts": "proceed", "routing": namespace, "max_docs": DROPPED}
            body = {"query": {"term": {"namespace": namespace}}}
            while (await self._asked("POST", f"/{index}/_delete_by_query", body, parameters)).get("deleted"):
                pass

    def _entry(self, namespace: str, record: vectors.Record) -> tuple[str, ...]:
        """The lines that write a record."""
        target = json.dumps({"index": {"_id": documents.key(namespace, record.id)}})
        return target, json.dumps(documents.document(namespace, record), separators=(",", ":"))

    def _route(self, namespace: str) -> dict[str, Any]:
        """Where a namespace lies."""
        return {"routing": namespace}

    def _visibility(self, *, waits: bool) -> dict[str, Any]:
        """When a write returns."""
        return {"refresh": "true" if self._address.refreshes else "wait_for" if waits else "false"}

    async def _bulk(self, index: str, namespace: str, lines: Sequence[tuple[str, ...]], *, waits: bool) -> None:
        parameters = self._route(namespace) | self._visibility(waits=waits)
        batch: list[str] = []
        size = 0
        for entry in (*lines, None):
            weight = sum(map(len, entry)) if entry is not None else 0
            if batch and (entry is None or size + weight > REQUEST_BYTES):
                answer = await self._asked("POST", f"/{index}/_bulk", "\n".join(batch) + "\n", parameters)
                self._check(answer)
                self._kept(index, namespace, batch, answer)
                batch, size = [], 0
            batch.extend(entry or ())
            size += weight

    def _kept(self, index: str, namespace: str, lines: Sequence[str], answer: dict[str, Any]) -> None:
        """Hears what a bulk was answered."""

    def _check(self, answer: dict[str, Any]) -> None:
        """Each item of a bulk has a fate of its own; the whole has that of the worst, since it may be repeated."""
        results = [result for item in answer.get("items", ()) for result in item.values()] if answer["errors"] else []
        failures = [result for result in results if "error" in result]
        for failure in sorted(failures, key=lambda each: each["status"] not in (429, 503)):
            why = f"{failure['error'].get('type')}: {failure['error'].get('reason')}"[:200]
            raise connections.refusal(failure["status"], why, host=self._address.host)

    async def _search(self, index: str, body: dict[str, Any], *, namespace: str) -> list[dict[str, Any]]:
        parameters = {"ignore_unavailable": "true", "allow_no_indices": "true", **self._route(namespace)}
        whole = {"_source": False, "track_total_hits": False, **body}
        answer = await self._asked("POST", f"/{index}/_search", whole, parameters)
        hits: list[dict[str, Any]] = answer.get("hits", {}).get("hits", [])
        return hits

    async def _asked(
        self, method: str, path: str, body: object = None, parameters: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """The answer, nothing where the index is not there; TransientError where a shard did not answer."""
        import opensearchpy

        try:
            answer: dict[str, Any] = await self._connection.request(method, path, body=body, parameters=parameters)
        except opensearchpy.NotFoundError:
            return {"errors": False}
        if answer.get("timed_out") or answer.get("_shards", {}).get("failed"):
            detail = f"A part of OpenSearch at {self._address.host} did not answer."
            raise errors.TransientError(Reason.VECTORS_UNAVAILABLE, detail)
        return answer

    def _index(self, dimension: int | str) -> str:
        return f"{self._address.prefix}.{dimension}"

    async def _indices(self) -> list[str]:
        """The indices that there are, whatever their dimension."""
        found = await self._asked("GET", f"/{self._index('*')}/_mapping", None, {"allow_no_indices": "true"})
        return [name for name in found if name.removeprefix(self._index("")).isdigit()]

    async def _made(self, dimension: int) -> None:
        """Makes the index if it is not there, and looks at one that is."""
        if dimension in self._known:
            return
        import opensearchpy

        index, address = self._index(dimension), self._address
        settings: dict[str, Any] = {"knn": True}
        if address.shards is not None:
            settings["number_of_shards"] = address.shards
        if address.replicas is not None:
            settings["number_of_replicas"] = address.replicas
        try:
            found = await self._connection.request("GET", f"/{index}/_mapping")
            self._look(index, dimension, found[index]["mappings"])
        except opensearchpy.NotFoundError:
            body = {"settings": {"index": settings}, "mappings": self._mapping(dimension)}
            try:
                await self._connection.request("PUT", f"/{index}", body=body)
            except errors.PermanentError as error:
                if "already_exists" not in error.detail:
                    raise addresses.refused(f"OpenSearch cannot make the index {index!r}: {error.detail}") from error
        self._known.add(dimension)

    def _mapping(self, dimension: int) -> dict[str, Any]:
        return documents.mapping(dimension, engine=self._address.engine)

    def _look(self, index: str, dimension: int, found: dict[str, Any]) -> None:
        vector = found.get("properties", {}).get("vector", {})
        if vector.get("dimension") != dimension:
            detail = f"The index {index!r} has vectors of {vector.get('dimension')} dimensions, not {dimension}."
            raise errors.ConfigurationError(Reason.DIMENSION_MISMATCH, f"{detail} Use another prefix, or delete it.")
        if vector.get("method", {}).get("space_type") != "cosinesimil" or "facets" not in found["properties"]:
            raise addresses.refused(f"The index {index!r} was not made by BloomWeaver. Use another prefix.")


async def open_vectors(url: str) -> OpenSearchVectors:
    """The store that a URL names. Nothing is sent before its first use."""
    address = connections.parse(url)
    if address.serverless:
        from bloomweaver.adapters.vectors import opensearch_serverless

        return opensearch_serverless.ServerlessVectors(connections.Connection(address))
    return OpenSearchVectors(connections.Connection(address))
