"""API keys: their text, their stored form, and what the bearer of one may do.

A key is `bw_<8 characters>_<43 characters>`. The eight are the key's public id, by which its row is found; the rest is
256 random bits, so a plain SHA-256 is kept and nothing slower is needed. Invariants: the secret exists only in the
answer that made it; hashes are compared in constant time; a tenant comes from the credential and from nowhere else.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from bloomweaver.domain import errors, filters, identity
from bloomweaver.domain.reasons import Reason

PREFIX: Final = "bw_"
MAX_GLOBS: Final = 100

_SECRET: Final = re.compile(r"bw_([a-z2-7]{8})_[A-Za-z0-9_-]{43}", re.ASCII)
_GLOB: Final = re.compile(r"[a-z0-9*?][a-z0-9._*?-]{0,62}", re.ASCII)


class Verb(StrEnum):
    """What a key may do. Verbs are independent: admin does not include read."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key at the moment it is made: the only moment at which its secret exists."""

    id: str
    secret: str = field(repr=False)
    hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking: made from a verified credential only. `filter` binds every read and search."""

    tenant: identity.TenantId
    key_id: str
    verbs: frozenset[str]
    collections: tuple[str, ...] = ("*",)
    filter: filters.Filter | None = None

    def allows(self, verb: Verb) -> bool:
        """Whether the verb is among the key's; one does not include another."""
        return verb in self.verbs

    def sees(self, collection: str) -> bool:
        """Whether the collection is within the key's globs; outside of them it answers as if it did not exist."""
        return any(glob_matches(glob, collection) for glob in self.collections)


def new_key(random_bytes: Callable[[int], bytes]) -> NewKey:
    """Make a key from 37 random bytes: 5 for the id, 32 for the secret."""
    key_id = base64.b32encode(random_bytes(5)).decode("ascii").lower()
    random_part = base64.urlsafe_b64encode(random_bytes(32)).decode("ascii").rstrip("=")
    secret = f"{PREFIX}{key_id}_{random_part}"
    return NewKey(id=key_id, secret=secret, hash=hash_secret(secret))


def key_id_of(secret: str) -> str | None:
    """The public id inside a key's text, or None if this is no key."""
    match = _SECRET.fullmatch(secret)
    return match.group(1) if match else None


def hash_secret(secret: str) -> str:
    """What is stored in place of the secret: SHA-256 of the whole key, in hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def secret_matches(secret: str, stored_hash: str) -> bool:
    """Whether the hash is this secret's, in time that does not depend on where the two differ."""
    return hmac.compare_digest(hash_secret(secret), stored_hash)


def check_verbs(verbs: Collection[str]) -> frozenset[Verb]:
    """The verbs of a key to be made: at least one, all known."""
    known = {verb.value: verb for verb in Verb}
    unknown = [index for index, verb in enumerate(verbs) if verb not in known]
    if unknown or not verbs:
        detail = f"at least one of {', '.join(known)}"
        pointer = f"/verbs/{unknown[0]}" if unknown else "/verbs"
        raise errors.Refusal(Reason.INVALID_REQUEST, f"Verbs are {detail}.", pointers=((pointer, detail),))
    return frozenset(known[verb] for verb in verbs)


def check_globs(globs: Iterable[str]) -> tuple[str, ...]:
    """The collection globs of a key to be made: `*` is any run of characters, `?` any one, nothing else is special."""
    checked = tuple(globs)
    for index, glob in enumerate(checked):
        if not _GLOB.fullmatch(glob):
            detail = "letters a-z, digits, '.', '_', '-', and the wildcards * and ?; at most 63 characters"
            pointers = ((f"/collections/{index}", detail),)
            raise errors.Refusal(Reason.INVALID_REQUEST, "A collection glob is malformed.", pointers=pointers)
    if not 1 <= len(checked) <= MAX_GLOBS:
        detail = f"between 1 and {MAX_GLOBS} globs"
        raise errors.Refusal(Reason.INVALID_REQUEST, f"A key has {detail}.", pointers=(("/collections", detail),))
    return checked


def glob_matches(glob: str, name: str) -> bool:
    """Match without a regular expression: linear in practice, and no character but * and ? means anything."""
    if glob == "*":
        return True
    at_glob = at_name = mark = 0
    star = -1
    while at_name < len(name):
        if at_glob < len(glob) and glob[at_glob] == "*":
            star, mark = at_glob, at_name
            at_glob += 1
        elif at_glob < len(glob) and glob[at_glob] in ("?", name[at_name]):
            at_glob += 1
            at_name += 1
        elif star >= 0:
            mark += 1
            at_glob, at_name = star + 1, mark
        else:
            return False
    return all(character == "*" for character in glob[at_glob:])
