"""Builders of domain objects with every field filled: a test names only what it is about.

    builders.row(seq=3, live=2)    builders.change(text="new")    builders.delete(source_version=7)

Everything belongs to one tenant, one collection and one document, unless the test says otherwise.
"""

import dataclasses
from typing import Any

from bloomweaver.domain import documents, events, identity

TENANT = identity.TenantId("acme")
COLLECTION = "handbook"
COLLECTION_UID = identity.CollectionUid("c0ffee")
DOCUMENT = identity.DocumentId("leave-policy")
KEY = documents.DocumentKey(COLLECTION_UID, DOCUMENT)
MARKDOWN = "text/markdown"
NOW = 1_790_000_000.0


def pipeline(pipe: str = "pipe-a", **changes: Any) -> documents.Pipeline:
    made = documents.Pipeline(
        pipe=identity.Pipe(pipe),
        space=f"space-of-{pipe}",
        model="all-minilm-l6-v2",
        chunking=documents.Chunking(max_tokens=254),
        revision="1",
    )
    return dataclasses.replace(made, **changes)


def generation(epoch: int = 1, **changes: Any) -> documents.Generation:
    return dataclasses.replace(documents.Generation(COLLECTION_UID, epoch, active=pipeline()), **changes)


def collection(**changes: Any) -> documents.Collection:
    made = documents.Collection(
        uid=COLLECTION_UID,
        tenant=TENANT,
        name=COLLECTION,
        ordering=documents.Ordering.ARRIVAL,
        description="",
        created_at=NOW,
    )
    return dataclasses.replace(made, **changes)


def content(text: str = "# Leave\n\nTwenty days.", media_type: str = MARKDOWN) -> documents.Content:
    data = text.encode()
    return documents.Content(media_type, identity.content_hash(media_type, data), size_bytes=len(data), text=text)


def meta(**changes: Any) -> documents.Meta:
    return dataclasses.replace(documents.Meta(title="Leave policy", metadata={"team": "hr"}), **changes)


def row(seq: int = 1, **changes: Any) -> documents.Row:
    """A row whose desired seq nobody has worked on; its order key is its seq."""
    sent, beside = content(), meta()
    made = documents.Row(
        key=KEY,
        seq=seq,
        src=seq,
        content_hash=sent.hash,
        meta_hash=identity.meta_hash(beside.title, beside.url, beside.metadata),
        accepted_at=NOW,
        hinted_at=NOW,
    )
    return dataclasses.replace(made, **changes)


def tombstone(seq: int = 2, **changes: Any) -> documents.Row:
    return row(seq, **{"tomb": True, "fsrc": seq, "content_hash": "", "meta_hash": "", **changes})


def revision(seq: int = 1, **changes: Any) -> documents.Revision:
    made = documents.Revision(
        key=KEY,
        seq=seq,
        src=seq,
        content=content(),
        meta=meta(),
        origin="api",
        actor="key:tests",
        request_id="req-1",
        event_id=f"evt-{seq}",
        occurred_at=None,
        accepted_at=NOW,
    )
    return dataclasses.replace(made, **changes)


def version(seq: int = 1, **changes: Any) -> documents.Version:
    """A version in the active pipeline whose vectors may be on their way."""
    made = documents.Version(
        key=KEY,
        seq=seq,
        pipe=pipeline().pipe,
        build=identity.BuildId(f"build-{seq}"),
        n_chunks=1,
        state=documents.VersionState.INTENT,
        since=NOW,
        content_hash=content().hash,
    )
    return dataclasses.replace(made, **changes)


def change(text: str = "# Leave\n\nTwenty days.", *, event_id: str = "evt-1", **changes: Any) -> events.Change:
    """Makes the document say `text`."""
    made = delete(event_id=event_id)
    sent = content(text)
    identified = dataclasses.replace(made.event, fingerprint=identity.fingerprint(sent.hash))
    return dataclasses.replace(made, **{"content": sent, "meta": meta(), "event": identified, **changes})


def delete(*, event_id: str = "evt-1", **changes: Any) -> events.Change:
    made = events.Change(
        tenant=TENANT,
        collection=COLLECTION,
        document_id=DOCUMENT,
        event=events.EventIdentity(source="api", event_id=event_id, fingerprint=identity.fingerprint("delete")),
        origin="api",
        actor="key:tests",
        request_id="req-1",
    )
    return dataclasses.replace(made, **changes)


def hint(seq: int = 1, **changes: Any) -> events.Hint:
    return dataclasses.replace(events.Hint(TENANT, COLLECTION_UID, DOCUMENT, seq), **changes)
