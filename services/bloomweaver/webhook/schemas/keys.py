"""API keys and signed sources, as requests and answers show them."""

import pydantic

from bloomweaver.domain.credentials import Verb
from bloomweaver.runtime.web import bodies


class NewKey(bodies.Body):
    """A key to be made."""

    name: str = pydantic.Field(min_length=1, max_length=200)
    verbs: list[str] = pydantic.Field(min_length=1, max_length=3, examples=[["read", "write"]])
    collections: list[str] = pydantic.Field(default=["*"], description="Globs of collection names.")
    expires_at: str | None = pydantic.Field(default=None, description="RFC 3339; never where it is omitted.")
    filter: dict[str, object] | None = pydantic.Field(default=None, description="Every read and search obeys it.")


class Key(pydantic.BaseModel):
    """A key, without its secret."""

    id: str
    name: str
    verbs: list[Verb]
    collections: list[str]
    created_at: str
    expires_at: str | None
    filter: dict[str, object] | None


class MadeKey(Key):
    """A key at the moment it is made: the only time that its secret is shown."""

    secret: str


class KeyList(pydantic.BaseModel):
    """One page of keys."""

    items: list[Key]
    next_cursor: str | None


class RevokedKey(pydantic.BaseModel):
    """A key that no longer works."""

    id: str
    revoked: bool


class SourceBody(bodies.Body):
    """A signed source. Everything that it sends goes to one collection."""

    collection: str = pydantic.Field(default="default", max_length=63)
    tolerance_seconds: int = pydantic.Field(default=300, ge=1, le=3600, description="How far its clock may be off.")
    filter: dict[str, object] | None = pydantic.Field(
        default=None, description="A document outside of it is refused: nothing of it is stored."
    )


class Source(pydantic.BaseModel):
    """A signed source. secret: the newest; while two are valid, either signs."""

    id: str
    name: str
    collection: str
    tolerance_seconds: int
    filter: dict[str, object] | None
    ingest_url: str
    secret: str
    secrets_valid: int
