"""`pinecone://INDEX`: vectors in a serverless Pinecone index, a namespace of it per namespace of ours.

Pinecone answers before readers see a write. Its log sequence numbers, one row per namespace, say how far a reader is:
they are our positions. Where an answer carries none the position is None and `present` is the probe: it searches, as
a query does, because what can be fetched by id need not be found yet.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from bloomweaver.adapters.vectors import narrowing
from bloomweaver.adapters.vectors import pinecone_connection as connections
from bloomweaver.adapters.vectors import records as checks
from bloomweaver.domain import errors, filters, identity
from bloomweaver.domain.documents import Metadata
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import vectors

if TYPE_CHECKING:
    from pinecone.models.response_info import ResponseInfo

T = TypeVar("T")

# Keys of metadata begin with a letter, so these two cannot be a document's own.
DOCUMENT_KEY = "_document"
VECTOR_KEY = "_vector"

MAX_RECORDS = 1000
REQUEST_BYTES = 1_900_000
METADATA_BYTES = 40_000
PAGE_IDS = 100
MAX_K = 1000
SURE_K = 200
"""So many matches fit into the 4 MB of an answer even with the most metadata that a document may have."""
NUMBER_BYTES = 16
DECIMALS = 9
"""Of the numbers sent: their error is far below that of fp32, and they take half the bytes."""


class PineconeVectors:
    """See the module. `positions` False makes it a store without a read barrier."""

    def __init__(self, connection: connections.Connection, *, index: str, positions: bool = True) -> None:
        self._connection = connection
        self._index = index
        self._positions = positions
        self.capabilities = vectors.Capabilities(
            read_barrier=positions, list_ids=True, filters=True, max_batch=MAX_RECORDS, max_k=MAX_K
        )

    async def aclose(self) -> None:
        """Ends the connections."""
        await self._connection.aclose()

    async def upsert(self, namespace: str, records: Sequence[vectors.Record]) -> int | None:
        ready = await self._connection.ready()
        self._check(records, dimension=ready.dimension)
        position, known = 0, True
        for batch in _batches(records):
            async with connections.translated(self._index):
                answer = await ready.client.upsert(vectors=batch, namespace=namespace)
            if answer.upserted_count != len(batch):
                detail = f"Pinecone wrote {answer.upserted_count} of {len(batch)} vectors."
                raise errors.TransientError(Reason.VECTORS_UNAVAILABLE, detail)
            written = answer.response_info.lsn_committed if answer.response_info else None
            position, known = max(position, written or 0), known and written is not None
        return position if known and records and self._positions else None

    async def delete(self, namespace: str, ids: Sequence[str]) -> None:
        ready = await self._connection.ready()
        for start in range(0, len(ids), MAX_RECORDS):
            part = list(ids[start : start + MAX_RECORDS])
            await self._unless_unknown(ready.client.delete(ids=part, namespace=namespace))

    async def query(
        self, namespace: str, vector: vectors.Vector, *, k: int, where: filters.Filter | None = None
    ) -> vectors.Matches:
        ready = await self._connection.ready()
        checks.check_query(vector, dimension=ready.dimension)
        wider = narrowing.widened(where)
        if wider == narrowing.NOTHING:
            return vectors.Matches((), None, more=False)
        values = _numbers(vector)
        narrow = None if wider == filters.EVERYTHING else rendered(wider)

        async def ask(wanted: int) -> narrowing.Page:
            return await self._ask(namespace, values, wanted=wanted, narrow=narrow)

        return await narrowing.query(ask, k=k, where=where, limit=MAX_K)

    async def present(self, namespace: str, ids: Sequence[str]) -> set[str]:
        ready = await self._connection.ready()
        found: set[str] = set()
        anywhere = [1.0] + [0.0] * (ready.dimension - 1)
        for start in range(0, len(ids), MAX_RECORDS):
            part = list(ids[start : start + MAX_RECORDS])
            call = ready.client.query(
                vector=anywhere, top_k=len(part), namespace=namespace, filter={VECTOR_KEY: {"$in": part}}
            )
            answer = await self._unless_unknown(call)
            if answer is not None:
                found.update(match.id for match in answer.matches)
        return found.intersection(ids)

    async def ids(self, namespace: str, *, prefix: str = "") -> AsyncIterator[list[str]]:
        ready = await self._connection.ready()
        token: str | None = None
        while True:
            call = ready.client.list_paginated(
                prefix=prefix, limit=PAGE_IDS, pagination_token=token, namespace=namespace
            )
            page = await self._unless_unknown(call)
            if page is None:
                return
            if page.vectors:
                yield [item.id for item in page.vectors if item.id is not None]
            token = page.pagination.next if page.pagination else None
            if not token:
                return

    async def namespaces(self, prefix: str) -> list[str]:
        ready = await self._connection.ready()
        names: list[str] = []
        token: str | None = None
        while True:
            async with connections.translated(self._index):
                page = await ready.client.list_namespaces_paginated(
                    prefix=prefix, limit=PAGE_IDS, pagination_token=token
                )
            names.extend(each.name for each in page.namespaces if each.name.startswith(prefix))
            token = page.pagination.next if page.pagination else None
            if not token:
                return sorted(names)

    async def drop(self, namespace: str) -> None:
        ready = await self._connection.ready()
        await self._unless_unknown(ready.client.delete_namespace(name=namespace))

    async def _ask(
        self, namespace: str, values: list[float], *, wanted: int, narrow: dict[str, Any] | None
    ) -> narrowing.Page:
        """One more than wanted tells whether there is more; too big an answer is asked for again, smaller."""
        try:
            return await self._found(namespace, values, wanted=wanted, narrow=narrow)
        except errors.PermanentError:
            if wanted <= SURE_K:
                raise
            page = await self._found(namespace, values, wanted=SURE_K, narrow=narrow)
            return narrowing.Page(page.candidates, more=True, position=page.position)

    async def _found(
        self, namespace: str, values: list[float], *, wanted: int, narrow: dict[str, Any] | None
    ) -> narrowing.Page:
        ready = await self._connection.ready()
        call = ready.client.query(
            vector=values, top_k=wanted + 1, namespace=namespace, filter=narrow, include_metadata=True
        )
        answer = await self._unless_unknown(call)
        if answer is None:
            return narrowing.Page((), more=False, position=None)
        candidates = [_candidate(match.id, match.score, match.metadata or {}) for match in answer.matches[:wanted]]
        return narrowing.Page(
            [candidate for candidate in candidates if candidate is not None],
            more=len(answer.matches) > wanted,
            position=self._seen(answer.response_info),
        )

    def _seen(self, info: "ResponseInfo | None") -> int | None:
        return info.lsn_reconciled if info is not None and self._positions else None

    async def _unless_unknown(self, call: Awaitable[T]) -> T | None:
        """What the call gives, or None where its namespace is not there."""
        import pinecone

        async with connections.translated(self._index):
            try:
                return await call
            except pinecone.NotFoundError:
                return None

    def _check(self, records: Sequence[vectors.Record], *, dimension: int) -> None:
        found = {len(record.vector) for record in records}
        if len(found) == 1 and dimension not in found:
            detail = (
                f"The model's vectors have {found.pop()} dimensions, the Pinecone index {self._index!r} {dimension}."
            )
            raise errors.ConfigurationError(Reason.DIMENSION_MISMATCH, f"{detail} Each dimension needs an index.")
        checks.check(records, dimension=dimension, max_batch=MAX_RECORDS)


async def open_vectors(url: str) -> PineconeVectors:
    """The store that a URL names. Nothing is sent before its first use."""
    address = connections.parse(url)
    return PineconeVectors(connections.Connection(address), index=address.index, positions=address.positions)


def _batches(records: Sequence[vectors.Record]) -> Iterator[list[dict[str, Any]]]:
    """The records as Pinecone takes them, each batch within the bytes of a request."""
    batch: list[dict[str, Any]] = []
    size = 0
    for record in records:
        fields = {name: list(value) if isinstance(value, tuple) else value for name, value in record.metadata.items()}
        fields |= {DOCUMENT_KEY: record.document_id, VECTOR_KEY: record.id}
        metadata_bytes = len(json.dumps(fields).encode())
        if metadata_bytes > METADATA_BYTES:
            detail = f"the metadata of vector {record.id} has {metadata_bytes} bytes, Pinecone takes {METADATA_BYTES}"
            raise errors.PermanentError(Reason.STORE_REFUSED, detail)
        weight = metadata_bytes + NUMBER_BYTES * len(record.vector) + 2 * len(record.id)
        if batch and size + weight > REQUEST_BYTES:
            yield batch
            batch, size = [], 0
        batch.append({"id": record.id, "values": _numbers(record.vector), "metadata": fields})
        size += weight
    if batch:
        yield batch


def _numbers(vector: vectors.Vector) -> list[float]:
    numbers: list[float] = np.round(vector.astype(np.float64), DECIMALS).tolist()
    return numbers


def _candidate(vector_id: str, score: float, fields: dict[str, Any]) -> narrowing.Candidate | None:
    """None for a record that is not ours."""
    name, document_id = identity.parse_vector_id(vector_id), fields.get(DOCUMENT_KEY)
    if name is None or not isinstance(document_id, str):
        return None
    metadata: Metadata = {
        key: tuple(value) if isinstance(value, list) else value for key, value in fields.items() if key[:1] != "_"
    }
    match = vectors.Match(document_id, name.seq, name.index, min(1.0, max(-1.0, score)))
    return narrowing.Candidate(match, metadata)


def rendered(tree: filters.Filter) -> dict[str, Any]:
    """A widened filter in Pinecone's words. What a field lacks passes a negation here as it does at home."""
    if isinstance(tree, filters.Condition):
        if tree.operator in ("$in", "$nin"):
            operand: Any = list(tree.values)
        else:
            operand = tree.values[0]
        condition = {tree.field: {tree.operator: operand}}
        if tree.operator in ("$ne", "$nin"):
            return {"$or": [condition, {tree.field: {"$exists": False}}]}
        return condition
    assert not isinstance(tree, filters.Not), "a widened filter has no negation"
    return {"$and" if isinstance(tree, filters.All) else "$or": [rendered(clause) for clause in tree.clauses]}
