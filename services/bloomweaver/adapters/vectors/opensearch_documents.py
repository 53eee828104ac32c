"""How a chunk lies in OpenSearch, and how a filter asks for it.

Metadata has keys that its owners choose. As fields of the index they would quarrel over types and use up its mapping,
which all tenants share; so each value is one term of the single field `facets`. A number's term orders as the number
does. Thereby every filter means here exactly what `filters.matches` says.
"""

from typing import Any

import numpy as np

from bloomweaver.adapters.vectors import facets
from bloomweaver.domain import filters
from bloomweaver.ports import vectors

FIELDS = ("document_id", "seq", "index")


def mapping(dimension: int, *, engine: str) -> dict[str, Any]:
    """The fields of an index of that dimension."""
    method = {"name": "hnsw", "engine": engine, "space_type": "cosinesimil"}
    return {
        "dynamic": "strict",
        "properties": {
            "namespace": {"type": "keyword"},
            "id": {"type": "keyword"},
            "document_id": {"type": "keyword"},
            "seq": {"type": "long"},
            "index": {"type": "integer"},
            "facets": {"type": "keyword"},
            "vector": {"type": "knn_vector", "dimension": dimension, "method": method},
        },
    }


def document(namespace: str, record: vectors.Record) -> dict[str, Any]:
    """A record as it is stored."""
    return {
        "namespace": namespace,
        "id": record.id,
        "document_id": record.document_id,
        "seq": record.seq,
        "index": record.index,
        "facets": facets.of(record.metadata),
        "vector": np.asarray(record.vector, np.float64).round(9).tolist(),
    }


def key(namespace: str, vector_id: str) -> str:
    """The document's `_id`: a vector's id is its own within a namespace only."""
    return f"{namespace}/{vector_id}"


def match(hit: dict[str, Any]) -> vectors.Match:
    """A hit as a candidate. OpenSearch scores the cosine as (1 + cosine) / 2."""
    fields = hit["fields"]
    score = min(1.0, max(-1.0, 2.0 * hit["_score"] - 1.0))
    return vectors.Match(fields["document_id"][0], int(fields["seq"][0]), int(fields["index"][0]), score)


def query(tree: filters.Filter) -> dict[str, Any]:
    """The filter as a query."""
    if isinstance(tree, filters.Condition):
        return _condition(tree)
    if isinstance(tree, filters.Not):
        return _none_of(query(tree.clause))
    clauses = [query(clause) for clause in tree.clauses]
    if isinstance(tree, filters.All):
        return {"bool": {"filter": clauses or [{"match_all": {}}]}}
    return {"bool": {"should": clauses, "minimum_should_match": 1}} if clauses else {"match_none": {}}


def _condition(condition: filters.Condition) -> dict[str, Any]:
    field, operator, values = condition.field, condition.operator, condition.values
    if operator == "$exists":
        there = {"term": {"facets": facets.presence(field)}}
        return there if values[0] else _none_of(there)
    if operator in ("$gt", "$gte", "$lt", "$lte"):
        return _ordered(field, operator, values[0])
    equal = {"terms": {"facets": [facets.term(field, value) for value in values]}}
    return equal if operator in ("$eq", "$in") else _none_of(equal)


def _ordered(field: str, operator: str, bound: filters.Scalar) -> dict[str, Any]:
    least, most = facets.numbers(field)
    limits = {operator[1:]: facets.term(field, bound)}
    return {"range": {"facets": limits | ({"lte": most} if operator in ("$gt", "$gte") else {"gte": least})}}


def _none_of(clause: dict[str, Any]) -> dict[str, Any]:
    return {"bool": {"must_not": [clause]}}
