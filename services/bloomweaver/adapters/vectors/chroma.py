"""`chroma:///folder` and `chroma://host:port`: vectors in Chroma, a collection of it per namespace.

A write that has returned is seen by the next query of the same Chroma; there are no positions, so callers probe. What
our filters ask is kept as terms (`facets`) and, for ordered conditions, as numbers under a name that no term takes.
"""

import pathlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, TypeGuard

from bloomweaver.adapters.engines import addresses
from bloomweaver.adapters.vectors import chroma_engines as engines
from bloomweaver.adapters.vectors import facets
from bloomweaver.adapters.vectors import records as checks
from bloomweaver.domain import filters
from bloomweaver.ports import vectors

OPTIONS = ("tls", "token_file", "database")
MAX_RECORDS = 1000
PAGE = 1000
# Chroma wants a list to have elements; every record has this one.
_ANY = "*"
_NUMBER = "number."
_OPPOSITES = {"$gt": "$lte", "$gte": "$lt", "$lt": "$gte", "$lte": "$gt"}


class ChromaVectors:
    """See the module."""

    capabilities = vectors.Capabilities(read_barrier=False, list_ids=True, filters=True, max_batch=MAX_RECORDS)

    def __init__(self, engine: engines.Engine) -> None:
        self._engine = engine
        self._known: dict[str, Any] = {}

    async def aclose(self) -> None:
        """Ends the engine."""
        await self._engine.aclose()

    async def upsert(self, namespace: str, records: Sequence[vectors.Record]) -> int | None:
        if checks.check(records, dimension=None, max_batch=MAX_RECORDS) is None:
            return None
        body = {
            "ids": [record.id for record in records],
            "embeddings": engines.numbers([record.vector for record in records]),
            "metadatas": [_stored(record) for record in records],
        }
        await self._call(namespace, "upsert", body, make=True)
        return None

    async def delete(self, namespace: str, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), MAX_RECORDS):
            await self._call(namespace, "delete", {"ids": list(ids[start : start + MAX_RECORDS])})

    async def query(
        self, namespace: str, vector: vectors.Vector, *, k: int, where: filters.Filter | None = None
    ) -> vectors.Matches:
        checks.check_query(vector, dimension=len(vector))
        narrow = None if where is None else _where(where)
        if narrow is False:
            return vectors.Matches((), None, more=False)
        body = {
            "query_embeddings": engines.numbers([vector]),
            "n_results": k + 1,
            "include": ["metadatas", "distances"],
        }
        answer = await self._call(namespace, "query", body | ({} if narrow in (None, True) else {"where": narrow}))
        if not answer.get("ids"):
            return vectors.Matches((), None, more=False)
        found = zip(answer["metadatas"][0], answer["distances"][0], strict=True)
        # One that is just being deleted may come without its metadata.
        matches = tuple(_match(metadata, distance) for metadata, distance in found if metadata is not None)
        return vectors.Matches(matches[:k], None, more=len(answer["ids"][0]) > k)

    async def present(self, namespace: str, ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(ids), MAX_RECORDS):
            part = list(ids[start : start + MAX_RECORDS])
            answer = await self._call(namespace, "get", {"ids": part, "include": []})
            found.update(answer.get("ids", ()))
        return found

    async def ids(self, namespace: str, *, prefix: str = "") -> AsyncIterator[list[str]]:
        # All are read before the first is given: pages are counted off, and a reader that deletes would shift them.
        body: dict[str, Any] = {"include": [], "limit": PAGE}
        if prefix and prefix == _version_of(prefix) and prefix.count("/") == 3:
            body["where"] = {"version": prefix}
        names: list[str] = []
        seen = 0
        while page := (await self._call(namespace, "get", {**body, "offset": seen})).get("ids"):
            seen += len(page)
            names.extend(name for name in page if name.startswith(prefix))
        for start in range(0, len(names), PAGE):
            yield names[start : start + PAGE]

    async def namespaces(self, prefix: str) -> list[str]:
        return sorted(name for name in await self._engine.names() if name.startswith(prefix))

    async def drop(self, namespace: str) -> None:
        self._known.pop(namespace, None)
        try:
            await self._engine.drop(namespace)
        except engines.Unknown:
            return

    async def _call(
        self, namespace: str, operation: str, body: Mapping[str, Any], *, make: bool = False
    ) -> Mapping[str, Any]:
        """The answer; nothing where there is no such collection. One that was made anew by others is found again."""
        for again in (True, False):
            try:
                if namespace not in self._known:
                    self._known[namespace] = await self._engine.open(namespace, make=make)
                return await self._engine.call(self._known[namespace], operation, body)
            except engines.Unknown:
                if self._known.pop(namespace, None) is None or not again:
                    break
        return {}


async def open_vectors(url: str) -> ChromaVectors:
    """The store that a URL names. Nothing is opened before its first use."""
    parts = addresses.parse(url, known=OPTIONS)
    options = parts.options
    if not parts.host:
        folder = pathlib.Path(parts.path)
        if not folder.is_absolute() or folder == pathlib.Path("/") or options:
            raise addresses.refused(f"{url!r} is no folder. Write chroma:///folder, with three slashes, from the root.")
        return ChromaVectors(engines.Embedded(folder))
    if parts.path.strip("/") or options.get("tls", "on") not in ("on", "off"):
        raise addresses.refused(f"{url.partition('?')[0]!r} is no Chroma. Write chroma://HOST:PORT.")
    scheme = "https" if options.get("tls", "on") == "on" else "http"
    server = addresses.web(f"{scheme}://{parts.host}:{parts.port or 8000}", what="Chroma")
    file = options.get("token_file")

    def token() -> str | None:
        return addresses.secret(file, what="Chroma's token") if file else None

    return ChromaVectors(engines.Server(server, database=options.get("database", "default_database"), token=token))


def _stored(record: vectors.Record) -> dict[str, Any]:
    numbers = {name: float(value) for name, value in record.metadata.items() if _is_number(value)}
    return {
        "document_id": record.document_id,
        "seq": record.seq,
        "index": record.index,
        "version": _version_of(record.id),
        "facets": [_ANY, *facets.of(record.metadata), *map(_numeric, numbers)],
        **{_NUMBER + name: value for name, value in numbers.items()},
    }


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numeric(field: str) -> str:
    """The term of every record whose field is a number."""
    return facets.presence(field) + "n"


def _version_of(vector_id: str) -> str:
    return vector_id.rpartition("/")[0] + "/"


def _match(metadata: Mapping[str, Any], distance: float) -> vectors.Match:
    score = min(1.0, max(-1.0, 1.0 - distance))
    return vectors.Match(metadata["document_id"], int(metadata["seq"]), int(metadata["index"]), score)


def _where(tree: filters.Filter, *, negated: bool = False) -> dict[str, Any] | bool:
    """The filter in Chroma's words; True passes everything, False nothing."""
    if isinstance(tree, filters.Not):
        return _where(tree.clause, negated=not negated)
    if isinstance(tree, filters.Condition):
        return _condition(tree, negated=negated)
    clauses = [_where(clause, negated=negated) for clause in tree.clauses]
    return _joined("$and" if isinstance(tree, filters.All) is not negated else "$or", clauses)


def _condition(condition: filters.Condition, *, negated: bool) -> dict[str, Any] | bool:
    field, operator, values = condition.field, condition.operator, condition.values
    if operator == "$exists":
        return _holds(facets.presence(field), there=values[0] is not negated)
    if operator in _OPPOSITES:
        bound = values[0]
        assert _is_number(bound), "order is for numbers"
        name = _NUMBER + field
        if not negated:
            return {name: {operator: float(bound)}}
        return _joined("$or", [{name: {_OPPOSITES[operator]: float(bound)}}, _holds(_numeric(field), there=False)])
    there = (operator in ("$eq", "$in")) is not negated
    return _joined("$or" if there else "$and", [_holds(facets.term(field, value), there=there) for value in values])


def _holds(term: str, *, there: bool) -> dict[str, Any]:
    return {"facets": {"$contains" if there else "$not_contains": term}}


def _joined(operator: str, clauses: Sequence[dict[str, Any] | bool]) -> dict[str, Any] | bool:
    decides = operator == "$or"
    if decides in clauses:
        return decides
    kept = [clause for clause in clauses if not isinstance(clause, bool)]
    if not kept:
        return not decides
    return kept[0] if len(kept) == 1 else {operator: kept}
