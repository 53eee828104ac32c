"""The index behind the wire: namespaces whose readers see writes in order, but late.

Invariant: a write has its effect as a whole, at its place in the namespace's log; a reader has seen exactly the log up
to the position that it names. Positions outlive a namespace that is deleted.
"""

import base64
import binascii
import json
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bloomweaver.testing.pinecone_wire import conditions
from bloomweaver.testing.pinecone_wire import faults as faults_

REQUEST_BYTES = 2 * 1024 * 1024
ANSWER_BYTES = 4 * 1024 * 1024
METADATA_BYTES = 40 * 1024
PAGE = 100

Body = Mapping[str, Any]
Effect = Callable[[], None]
_Values = NDArray[np.float32]


class RefusedError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(slots=True)
class Answer:
    """A success. position: the log sequence number that goes with it."""

    body: Body
    position: int | None = None


@dataclass(slots=True)
class _Record:
    values: _Values
    metadata: Body


@dataclass(slots=True)
class _Namespace:
    """records: as readers see them, up to position `seen`. waiting: what they do not see yet, in order."""

    records: dict[str, _Record] = field(default_factory=dict)
    written: int = 0
    seen: int = 0
    waiting: deque[tuple[float, int, Effect]] = field(default_factory=deque)
    there: bool = False


class Service:
    """One index. clock: seconds that never go back. key: the API key that is accepted, None for any."""

    def __init__(
        self,
        *,
        dimension: int,
        clock: Callable[[], float],
        faults: faults_.Faults | None = None,
        name: str = "index",
        metric: str = "cosine",
        key: str | None = None,
    ) -> None:
        self.dimension = dimension
        self.name = name
        self.metric = metric
        self.key = key
        self.faults = faults or faults_.Faults()
        self.requests: Counter[str] = Counter()
        self._clock = clock
        self._namespaces: dict[str, _Namespace] = {}
        self._landing: list[tuple[float, Callable[[], object]]] = []

    def describe(self, *, host: str, name: str) -> Answer:
        """The control plane's look at an index."""
        if name != self.name:
            raise RefusedError(404, f"Resource {name} not found")
        vector = {"type": "dense_vector", "dimension": self.dimension, "metric": self.metric}
        return Answer(
            {
                "name": name,
                "host": host,
                "status": {"ready": True, "state": "Ready"},
                "schema": {"fields": {"values": vector}},
                "deployment": {"deployment_type": "managed", "cloud": "aws", "region": "eu-central-1"},
                "deletion_protection": "disabled",
            }
        )

    def stats(self, body: Body) -> Answer:
        """Dimension, metric and the sizes of namespaces."""
        if body.get("filter"):
            raise RefusedError(400, "A serverless index gives no statistics by filter")
        sizes = {name: len(held.records) for name, held in self._current().items() if held.there}
        return Answer(
            {
                "namespaces": {name: {"vectorCount": size} for name, size in sizes.items()},
                "dimension": self.dimension,
                "metric": self.metric,
                "vectorType": "dense",
                "indexFullness": 0,
                "totalVectorCount": sum(sizes.values()),
            }
        )

    def upsert(self, body: Body, *, size_bytes: int) -> Answer:
        """Write vectors; refused whole or not at all, but for the faults."""
        if size_bytes > REQUEST_BYTES:
            raise RefusedError(400, f"The request has {size_bytes} bytes, more than {REQUEST_BYTES}")
        records = {vector["id"]: self._record(vector) for vector in body["vectors"]}
        namespace = body.get("namespace", "")

        def effect(chosen: Sequence[str]) -> Effect:
            held = self._current().setdefault(namespace, _Namespace())
            return lambda: held.records.update((name, records[name]) for name in chosen)

        names = list(records)
        if self.faults.strikes("partial"):
            self._write(namespace, effect(names[: len(names) // 2]), makes=True)
            raise RefusedError(500, "Internal error")
        position = self._faultily(namespace, effect(names), makes=True)
        return Answer({"upsertedCount": len(body["vectors"])}, position)

    def delete(self, body: Body) -> Answer:
        """Remove vectors by id; unknown ids are ignored, an unknown namespace is not."""
        namespace = body.get("namespace", "")
        held = self._there(namespace)

        def effect() -> None:
            for name in body["ids"]:
                held.records.pop(name, None)

        return Answer({}, self._faultily(namespace, effect))

    def query(self, body: Body) -> Answer:
        """The best matches, as readers see the namespace now."""
        vector, namespace = self._values(body["vector"]), body.get("namespace", "")
        tree = body.get("filter") or {}
        try:
            conditions.check(tree)
        except conditions.ConditionError as error:
            raise RefusedError(400, str(error)) from error
        held = self._current().get(namespace, _Namespace())
        passing = {name: record for name, record in held.records.items() if conditions.holds(tree, record.metadata)}
        scored = sorted(((_cosine(r.values, vector), name) for name, r in passing.items()), reverse=True)
        matches = [
            {"id": name, "score": score} | ({"metadata": passing[name].metadata} if body.get("includeMetadata") else {})
            for score, name in scored[: body["topK"]]
        ]
        answer = {"matches": matches, "namespace": namespace, "usage": {"readUnits": 1}}
        if len(json.dumps(answer)) > ANSWER_BYTES:
            raise RefusedError(400, "The answer is larger than 4 MB")
        return Answer(answer, held.seen)

    def list_ids(self, namespace: str, *, prefix: str, limit: int, token: str | None) -> Answer:
        """Ids by prefix, in order, a page at a time."""
        names = sorted(name for name in self._there(namespace).records if name.startswith(prefix))
        page, pagination = _page(names, limit=limit, token=token)
        return Answer({"vectors": [{"id": name} for name in page], "namespace": namespace} | pagination)

    def list_namespaces(self, *, prefix: str, limit: int, token: str | None) -> Answer:
        """Namespaces by prefix, in order, a page at a time."""
        there = {name: held for name, held in self._current().items() if held.there and name.startswith(prefix)}
        page, pagination = _page(sorted(there), limit=limit, token=token)
        named = [{"name": name, "record_count": str(len(there[name].records))} for name in page]
        return Answer({"namespaces": named, "total_count": len(there)} | pagination)

    def drop(self, namespace: str) -> Answer:
        """Remove a namespace, at once: not even what was under way stays."""
        held = self._there(namespace)
        held.records.clear()
        held.waiting.clear()
        held.there, held.seen = False, held.written
        return Answer({})

    def _faultily(self, namespace: str, effect: Effect, *, makes: bool = False) -> int:
        if self.faults.strikes("late"):
            due = self._clock() + self.faults.late_seconds
            self._landing.append((due, lambda: self._write(namespace, effect, makes=makes)))
            raise RefusedError(504, "Deadline exceeded")
        position = self._write(namespace, effect, makes=makes)
        if self.faults.strikes("lost_answer"):
            raise RefusedError(500, "Internal error")
        return position

    def _write(self, namespace: str, effect: Effect, *, makes: bool) -> int:
        held = self._namespaces.setdefault(namespace, _Namespace())
        held.there |= makes
        held.written += 1
        earliest = held.waiting[-1][0] if held.waiting else 0.0
        held.waiting.append((max(earliest, self._clock() + self.faults.lag_seconds), held.written, effect))
        return held.written

    def _current(self) -> dict[str, _Namespace]:
        """The namespaces, after everything that is due by now."""
        now = self._clock()
        landing, self._landing = self._landing, []
        for due, land in sorted(landing, key=lambda each: each[0]):
            if due <= now:
                land()
            else:
                self._landing.append((due, land))
        now = self._clock()
        for held in self._namespaces.values():
            while held.waiting and held.waiting[0][0] <= now:
                _, held.seen, effect = held.waiting.popleft()
                effect()
        return self._namespaces

    def _there(self, namespace: str) -> _Namespace:
        held = self._current().get(namespace)
        if held is None or not held.there:
            raise RefusedError(404, "Namespace not found")
        return held

    def _record(self, vector: Body) -> _Record:
        values = self._values(vector["values"])
        if not (np.abs(values) >= 1e-8).any():
            raise RefusedError(400, "Dense vectors must contain at least one non-zero value")
        metadata = vector.get("metadata", {})
        if any(name.startswith("$") for name in metadata):
            raise RefusedError(400, "A name of metadata does not begin with $")
        if len(json.dumps(metadata)) > METADATA_BYTES:
            raise RefusedError(400, "Metadata of one vector is at most 40 kB")
        return _Record(values, metadata)

    def _values(self, numbers: Sequence[float]) -> _Values:
        if len(numbers) != self.dimension:
            detail = f"Vector dimension {len(numbers)} does not match the dimension of the index {self.dimension}"
            raise RefusedError(400, detail)
        with np.errstate(over="ignore"):
            values = np.asarray(numbers, np.float32)
        if not np.isfinite(values).all():
            raise RefusedError(400, "A number of the vector does not fit into 32 bits")
        return values


def _cosine(values: _Values, vector: _Values) -> float:
    left, right = values.astype(np.float64), vector.astype(np.float64)
    norm = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / norm if norm else 0.0


def _page(names: Sequence[str], *, limit: int, token: str | None) -> tuple[Sequence[str], dict[str, Any]]:
    after = ""
    if token:
        try:
            after = base64.urlsafe_b64decode(token.encode()).decode()
        except (binascii.Error, UnicodeError, ValueError) as error:
            raise RefusedError(400, "Invalid pagination token") from error
    rest = [name for name in names if name > after]
    page = rest[:limit]
    if len(rest) <= limit:
        return page, {}
    return page, {"pagination": {"next": base64.urlsafe_b64encode(page[-1].encode()).decode()}}
