"""Attempts of one tenant to reach what another has, made from a seed, and what it takes to see that none succeeded.

An attempt is drawn twice with the same chance: with the names of the other tenant's things, and with names of the same
form that nothing has. Whoever asks must not be able to tell the two answers apart, because what is another's answers as
what does not exist. What the other tenant wrote carries a canary that no attempt sends: an answer with it is a leak.
"""

import base64
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bloomweaver.domain import signatures

CANARY: Final = "kingfisher"
"""In all that the other tenant wrote: texts, titles, metadata."""
QUERY: Final = f"some text of a {CANARY}"
OWN_SOURCE: Final = signatures.Secret(b"s" * 32)


@dataclass(frozen=True, slots=True)
class Names:
    """How things are called that an attempt reaches for. All of them may be known to whoever tries."""

    documents: tuple[str, ...]
    collections: tuple[str, ...]
    uids: tuple[str, ...]
    namespaces: tuple[str, ...]
    vectors: tuple[str, ...]
    events: tuple[str, ...]
    batches: tuple[str, ...]
    cursors: tuple[str, ...]
    key_ids: tuple[str, ...]
    sources: tuple[str, ...]
    ingests: tuple[str, ...]
    tenant: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request. secret: instead of the key of whoever tries; None leaves that."""

    kind: str
    method: str
    path: str
    secret: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Draw:
    """What makes attempts: chance, names, and the key of whoever tries."""

    chance: random.Random
    names: Names
    secret: str
    number: int

    def one(self, values: tuple[str, ...]) -> str:
        """Any of them."""
        return self.chance.choice(values)

    def somewhere(self) -> str:
        """A collection's name, as it is in a path."""
        return self.one((*self.names.collections, *self.names.uids, *self.names.namespaces, "default"))

    def document(self) -> str:
        """A document's id, in one of the ways in which a path may name it."""
        known = self.one(self.names.documents)
        place = self.one(self.names.collections)
        forms = (
            known,
            known.replace("-", "%2D"),
            f"..%2F{place}%2F{known}",
            f"{place}%2F{known}",
            f"{self.one(self.names.uids)}%2F{known}",
            f"{known}%00",
            f"{known}%2F..%2F{known}",
            f"%252e%252e%252f{known}",
        )
        return self.one(forms)


def attempts(seed: int, *, names: Names, secret: str, count: int) -> list[Attempt]:
    """So many attempts of every kind. Their shape depends on the seed alone, not on the names."""
    makers = tuple(MAKERS)
    return [makers[n % len(makers)](Draw(random.Random(f"{seed}/{n}"), names, secret, n)) for n in range(count)]


def _by_id(draw: Draw) -> Attempt:
    path = f"/v1/collections/{draw.somewhere()}/documents/{draw.document()}"
    path += draw.one(("", "", "/text", "/text?version=live", "/text?form=extracted", "/chunks", "/why"))
    return Attempt("id", "GET", path)


def _changing(draw: Draw) -> Attempt:
    place = draw.one((*draw.names.collections, *draw.names.uids))
    path = f"/v1/collections/{place}/documents/{draw.document()}"
    method = draw.one(("PATCH", "DELETE", "POST"))
    if method == "POST":
        return Attempt("change", method, f"{path}/retry")
    return Attempt("change", method, path, more={"json": {"title": "taken"}} if method == "PATCH" else {})


def _filtered(draw: Draw) -> Attempt:
    names = draw.names
    inside = draw.one(
        (
            "tenant",
            "collection",
            "collection_uid",
            "uid",
            "namespace",
            "document_id",
            "id",
            "seq",
            "team",
            "space",
            "pipe",
            "key",
            "metadata",
            "vector_id",
            "bw.document_id",
            "n",
            "type",
        )
    )
    values = (
        names.tenant,
        draw.one(names.uids),
        draw.one(names.namespaces),
        draw.one(names.documents),
        "*",
        "%",
        "' OR 1=1 --",
        "x') OR ('1'='1",
        "\\",
        "$",
        "{}",
        "/.*/",
    )
    value = draw.one(values)
    forms: tuple[dict[str, Any], ...] = (
        {inside: value},
        {inside: {"$in": [value, draw.one(values)]}},
        {"$or": [{inside: value}, {inside: {"$exists": True}}, {inside: {"$exists": False}}]},
        {"$not": {inside: {"$exists": True}}},
        {"$not": {"$and": [{inside: value}, {inside: {"$ne": value}}]}},
        {inside: {"$ne": "never"}},
        {inside: {"$nin": ["never"]}},
        {"$or": [{"$not": {inside: value}}, {inside: {"$gte": -1}}]},
    )
    body = {"query": QUERY.replace(CANARY, "bird"), "filter": draw.chance.choice(forms), "limit": 100}
    return Attempt("filter", "POST", "/v1/search", more={"json": body})


def _named(draw: Draw) -> Attempt:
    names = draw.names
    place = draw.one((*names.collections, *names.uids, *names.namespaces, "*", "", f"../{names.collections[0]}"))
    body: dict[str, Any] = {"query": "some text", "collections": [place], "limit": 100}
    if draw.chance.random() < 0.3:
        body["collections"].append("default")
    if draw.chance.random() < 0.3:
        extra = draw.one(("tenant", "namespace", "deployment", "uid", "principal"))
        body = {"query": "some text", extra: draw.one((names.tenant, names.namespaces[0]))}
    return Attempt("namespace", "POST", "/v1/search", more={"json": body})


def _cursor(draw: Draw) -> Attempt:
    cursor = draw.one(draw.names.cursors)
    change = draw.chance.randrange(5)
    if change == 1:
        at = draw.chance.randrange(len(cursor))
        cursor = cursor[:at] + draw.one(("A", "_", "9", "%2B")) + cursor[at + 1 :]
    elif change >= 2:
        inside = draw.one(
            (
                f"{draw.one(draw.names.uids)}/{draw.one(draw.names.documents)}",
                draw.one(draw.names.documents),
                f"{draw.one(draw.names.collections)}/",
                "",
                "\uffff",
                "0",
                "-1",
            )
        )
        cursor = base64.urlsafe_b64encode(b"1" + inside.encode()).decode().rstrip("=")
    where = draw.one(
        (
            "/v1/collections/default/documents",
            f"/v1/collections/{draw.somewhere()}/documents",
            "/v1/keys",
            "/v1/collections",
            "/v1/dead-letters",
            "/v1/collections/default/documents/own-1/chunks",
        )
    )
    return Attempt("cursor", "GET", f"{where}?limit={draw.chance.randint(1, 1000)}&cursor={cursor}")


def _key(draw: Draw) -> Attempt:
    other, own = draw.one(draw.names.key_ids), draw.secret
    grafted = f"bw_{other}_{own.rpartition('_')[2][-43:]}"
    at = draw.chance.randrange(len(own))
    secret = draw.one(
        (
            grafted,
            f"bw_{other}_" + "A" * 43,
            own[:at] + ("b" if own[at] != "b" else "c") + own[at + 1 :],
            f"{own}, Bearer {grafted}",
            f"{own} {other}",
            own.upper(),
            f"{grafted}\t",
            other,
        )
    )
    path = draw.one(("/v1/status", "/v1/keys", f"/v1/collections/{draw.somewhere()}/documents"))
    return Attempt("key", "GET", path, secret=secret)


def _keys(draw: Draw) -> Attempt:
    names = draw.names
    if draw.chance.random() < 0.4:
        return Attempt("keys", "DELETE", f"/v1/keys/{draw.one(names.key_ids)}")
    body: dict[str, Any] = {"name": "mine", "verbs": ["read"], "collections": [draw.one(names.collections)]}
    extra = draw.one(("tenant", "tenant_id", "id", "hash", "none"))
    if extra != "none":
        body[extra] = draw.one((names.tenant, names.key_ids[0]))
    return Attempt("keys", "POST", "/v1/keys", more={"json": body})


def _header(draw: Draw) -> Attempt:
    names = draw.names
    name = draw.one(
        (
            "x-tenant",
            "x-tenant-id",
            "x-bloomweaver-tenant",
            "x-forwarded-user",
            "x-original-url",
            "cookie",
            "x-rewrite-url",
            "x-http-method-override",
            "forwarded",
            "x-forwarded-host",
            "host",
            "tracestate",
            "x-request-id",
            "ce-tenant",
            "webhook-id",
            "proxy-authorization",
            "x-api-key",
        )
    )
    values = (
        names.tenant,
        names.key_ids[0],
        f"/v1/collections/{names.collections[0]}/documents",
        f"tenant={names.tenant}",
    )
    path = draw.one(
        (
            "/v1/collections/default/documents?limit=1000",
            f"/v1/collections/{draw.somewhere()}/documents",
            "/v1/collections",
            "/v1/status",
        )
    )
    return Attempt("header", "GET", path, more={"headers": {name: draw.one(values)}})


def _remembered(draw: Draw) -> Attempt:
    names = draw.names
    if draw.chance.random() < 0.4:
        return Attempt("batch", "GET", f"/v1/batches/{draw.one(names.batches)}")
    place = draw.one((*names.collections, "default"))
    source = draw.one(("", f"&source={draw.one(names.sources)}", f"&source={names.tenant}"))
    return Attempt("event", "GET", f"/v1/events/{draw.one(names.events)}?collection={place}{source}")


def _event(draw: Draw) -> Attempt:
    names = draw.names
    event: dict[str, Any] = {"change_type": draw.one(("delete", "upsert")), "document_id": draw.one(names.documents)}
    event["collection"] = draw.one((*names.collections, *names.uids))
    if event["change_type"] == "upsert":
        event["text"] = "taken"
    extra = draw.one(("tenant", "collection_uid", "namespace", "uid", "event_id", "batch_id", "none"))
    if extra in ("event_id", "batch_id"):
        event[extra] = draw.one(names.events if extra == "event_id" else names.batches)
    elif extra != "none":
        event[extra] = draw.one((names.tenant, names.uids[0], names.namespaces[0]))
    return Attempt("change", "POST", "/v1/events", more={"json": [event] if draw.chance.random() < 0.5 else event})


def _injected(draw: Draw) -> Attempt:
    """A document of one's own, made to look like another's to whatever keeps vectors."""
    names = draw.names
    keys = (
        "namespace",
        "tenant",
        "uid",
        "document_id",
        "seq",
        "index",
        "id",
        "vector",
        "vector_key",
        "metadata",
        "d",
        "s",
        "chunk",
        "bw",
        "pipe",
        "collection",
        "document",
        "filter",
        "score",
        "team",
    )
    values = (names.tenant, names.uids[0], *names.namespaces, *names.documents, *names.vectors, [*names.documents])
    metadata: dict[str, Any] = {key: draw.chance.choice(values) for key in draw.chance.sample(keys, 5)}
    metadata["seq"] = draw.chance.choice((1, 2, 2**53))
    document = draw.one(
        (f"own/{draw.number}", *(f"{each}/own" for each in (*names.namespaces, *names.uids)), *names.vectors)
    )
    event = {"change_type": "upsert", "document_id": document, "text": "an own text", "metadata": metadata}
    return Attempt("injection", "POST", "/v1/events", more={"json": event})


def _managed(draw: Draw) -> Attempt:
    names = draw.names
    place = draw.one((*names.uids, *names.collections))
    kind = draw.chance.randrange(6)
    if kind == 5:
        return Attempt("collection", "PUT", f"/v1/collections/{place}", more={"json": {"description": "mine"}})
    if kind == 0:
        return Attempt("collection", "DELETE", f"/v1/collections/{place}?confirm={place}")
    if kind == 1:
        step = draw.one(("promote", "rollback", "cancel"))
        return Attempt("collection", "POST", f"/v1/collections/{place}/reindex/{step}")
    if kind == 2:
        return Attempt("collection", "GET", f"/v1/collections/{place}" + draw.one(("", "/reindex", "/documents")))
    if kind == 3:
        body = {"collection": names.collections[0], "documents": [draw.one(names.documents)]}
        return Attempt("dead letters", "POST", "/v1/dead-letters/redrive", more={"json": body})
    return Attempt("dead letters", "GET", f"/v1/dead-letters?collection={place}")


def _source(draw: Draw) -> Attempt:
    names = draw.names
    if draw.chance.random() < 0.4:
        body = {"collection": draw.one(names.collections)}
        return Attempt("source", "PUT", f"/v1/sources/{draw.one(names.sources)}", more={"json": body})
    body_text = b'{"change_type":"upsert","document_id":"in","text":"taken"}'
    signed = signatures.sign(
        body_text, secret=OWN_SOURCE, webhook_id=f"w{draw.number}", timestamp_seconds=draw.chance.choice((0, 10**9))
    )
    headers = {"content-type": "application/json", **signed}
    return Attempt(
        "ingest", "POST", f"/v1/ingest/{draw.one(names.ingests)}", more={"content": body_text, "headers": headers}
    )


def _cached(draw: Draw) -> Attempt:
    """Word for word what the other tenant has just asked, so that whatever remembers its candidates has them."""
    body: dict[str, Any] = {"query": QUERY.replace(CANARY, "bird"), "limit": 100}
    if draw.chance.random() < 0.5:
        body["collections"] = ["default"]
    return Attempt("cached", "POST", "/v1/search", more={"json": body})


MAKERS: Final[tuple[Callable[[Draw], Attempt], ...]] = (
    _by_id,
    _changing,
    _filtered,
    _named,
    _cursor,
    _key,
    _keys,
    _header,
    _remembered,
    _event,
    _injected,
    _managed,
    _source,
    _cached,
)
