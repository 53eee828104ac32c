"""`opensearch://…?service=aoss`: vectors in a collection of OpenSearch Serverless.

It makes the `_id` of each document itself, refreshes when it likes, and removes by `_id` only.

So the id of a vector is a field, and one id may lie there several times, because a write that was repeated could not be
told from a new one. Invariants: an id is told once, however often it is there (all of them hold the same, because the
records of a version never change); what is removed is every document of the id that a search finds, or that this
process wrote lately. What another process wrote and no search finds yet survives a removal beside it. It is never
shown, because search believes the ledger's rows, and it goes with the next removal of its version or with the sweep.
"""

import collections
import itertools
import json
import operator
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any

from bloomweaver.adapters.vectors import opensearch, opensearch_connection, opensearch_documents
from bloomweaver.domain import filters
from bloomweaver.ports import vectors

REMEMBERED = 100_000
"""Documents that this process wrote last: more than any refresh keeps waiting."""

_ID = re.compile(r'\{"namespace":"(?:[^"\\]|\\.)*","id":("(?:[^"\\]|\\.)*")')


class ServerlessVectors(opensearch.OpenSearchVectors):
    """See the module. A write returns when it is kept, not when it shows."""

    def __init__(self, connection: opensearch_connection.Connection) -> None:
        super().__init__(connection)
        # By namespace and id: index and `_id`, several where it was written several times.
        self._lately: collections.OrderedDict[tuple[str, str], list[tuple[str, str]]] = collections.OrderedDict()

    async def delete(self, namespace: str, ids: Sequence[str]) -> None:
        lately = [place for vector_id in ids for place in self._lately.pop((namespace, vector_id), ())]
        await self._remove_from(namespace, lately)
        for start in range(0, len(ids), opensearch.PAGE):
            await self._remove(namespace, {"terms": {"id": list(ids[start : start + opensearch.PAGE])}})

    async def query(
        self, namespace: str, vector: vectors.Vector, *, k: int, where: filters.Filter | None = None
    ) -> vectors.Matches:
        found = await super().query(namespace, vector, k=k, where=where)
        once = {(match.document_id, match.seq, match.index): match for match in reversed(found.matches)}
        return vectors.Matches(tuple(reversed(once.values())), None, more=found.more)

    async def present(self, namespace: str, ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(ids), opensearch.PAGE):
            part = list(ids[start : start + opensearch.PAGE])
            async for page in self._pages(namespace, {"terms": {"id": part}}):
                found.update(hit["sort"][0] for hit in page)
        return found

    async def ids(self, namespace: str, *, prefix: str = "") -> AsyncIterator[list[str]]:
        last = None
        async for page in self._pages(namespace, {"prefix": {"id": prefix}}):
            names = [name for name in dict.fromkeys(hit["sort"][0] for hit in page) if name != last]
            last = page[-1]["sort"][0]
            yield names

    async def drop(self, namespace: str) -> None:
        await self.delete(namespace, [vector_id for held, vector_id in self._lately if held == namespace])
        await self._remove(namespace, {"match_all": {}})

    async def _remove(self, namespace: str, which: dict[str, Any]) -> None:
        async for page in self._pages(namespace, which):
            await self._remove_from(namespace, [(hit["_index"], hit["_id"]) for hit in page])

    async def _remove_from(self, namespace: str, places: list[tuple[str, str]]) -> None:
        for index, several in itertools.groupby(sorted(places), key=operator.itemgetter(0)):
            lines = [(json.dumps({"delete": {"_id": key}}),) for _, key in several]
            await self._bulk(index, namespace, lines, waits=False)

    def _kept(self, index: str, namespace: str, lines: Sequence[str], answer: dict[str, Any]) -> None:
        made = [item["index"]["_id"] for item in answer.get("items", ()) if "index" in item]
        for line, key in zip(lines[1::2], made, strict=False):
            found = _ID.match(line)
            assert found is not None, "a document begins with its namespace and its id"
            self._lately.setdefault((namespace, json.loads(found[1])), []).append((index, key))
        while len(self._lately) > REMEMBERED:
            self._lately.popitem(last=False)

    async def _pages(self, namespace: str, which: dict[str, Any]) -> AsyncIterator[list[dict[str, Any]]]:
        """What a search finds, in the order of ids; `write` tells apart those of one id."""
        wanted = {"bool": {"filter": [{"term": {"namespace": namespace}}, which]}}
        body: dict[str, Any] = {"size": opensearch.PAGE, "query": wanted, "sort": [{"id": "asc"}, {"write": "asc"}]}
        while hits := await self._search(self._index("*"), body, namespace=namespace):
            yield hits
            body["search_after"] = hits[-1]["sort"]

    def _entry(self, namespace: str, record: vectors.Record) -> tuple[str, ...]:
        document = opensearch_documents.document(namespace, record) | {"write": secrets.token_hex(8)}
        return json.dumps({"index": {}}), json.dumps(document, separators=(",", ":"))

    def _route(self, namespace: str) -> dict[str, Any]:
        return {}

    def _visibility(self, *, waits: bool) -> dict[str, Any]:
        return {}

    def _mapping(self, dimension: int) -> dict[str, Any]:
        made = super()._mapping(dimension)
        return made | {"properties": made["properties"] | {"write": {"type": "keyword"}}}
