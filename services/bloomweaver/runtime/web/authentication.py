"""Who is asking: a bearer key becomes a Principal before anything else of the request is looked at.

`Middleware` guards every path below `/v1/`, also those that do not exist, so an answer tells nothing to who has no key.
Signed sources (`open_prefixes`) verify by themselves. A route then says which verb it needs, in its first line:

    principal = authentication.principal_of(request, credentials.Verb.WRITE)      # 403
    authentication.require_collection(principal, collection)                      # 404 outside of the key's globs

Invariants: all causes of a 401 read the same; a revoked key is refused at once in this process and within
`max_age_seconds` in others; what cannot be looked up is refused (503), never let through.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from starlette import requests, types

from bloomweaver.domain import credentials, errors, filters
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import clock as clocks
from bloomweaver.ports import registry

MAX_AGE_SECONDS: Final = 4.0
"""A revoked key ends within 5 s everywhere; the last second is for the look-up itself, on a busy machine."""
GUARDED: Final = "/v1"
PRINCIPAL_KEY: Final = "bloomweaver.principal"

_MAX_CACHED: Final = 10_000


class Authenticator(Protocol):
    """Turns an Authorization header into a Principal, or raises a Refusal with `unauthenticated`."""

    async def authenticate(self, authorization: str | None) -> credentials.Principal:
        """None stands for no header, or several."""


@dataclass(frozen=True, slots=True)
class _Cached:
    key: registry.StoredKey
    principal: credentials.Principal
    fetched_at: float


class KeyAuthenticator:
    """API keys, looked up in the registry and remembered for a few seconds.

    find_key: the registry's `key`: the stored key of a public id, None if it does not exist or is revoked.
    """

    def __init__(
        self,
        find_key: Callable[[str], Awaitable[registry.StoredKey | None]],
        *,
        clock: clocks.Clock,
        max_age_seconds: float = MAX_AGE_SECONDS,
    ) -> None:
        self._find_key = find_key
        self._clock = clock
        self._max_age_seconds = max_age_seconds
        self._cached: dict[str, _Cached] = {}
        self._fetching: dict[str, asyncio.Task[_Cached | None]] = {}

    def invalidate(self, key_id: str) -> None:
        """Forget a key: whoever revokes or changes one calls this, after the registry has it."""
        self._cached.pop(key_id, None)
        # An answer that is on its way may be older: who waits for it already uses it, nobody else, and it is forgotten.
        self._fetching.pop(key_id, None)

    async def authenticate(self, authorization: str | None) -> credentials.Principal:
        """The principal of a valid, unexpired key."""
        secret = _bearer(authorization)
        key_id = credentials.key_id_of(secret)
        if key_id is None:
            raise unauthenticated()
        found = self._cached.get(key_id)
        if found is None or self._clock.monotonic() - found.fetched_at >= self._max_age_seconds:
            found = await self._fetched(key_id)
        if found is None or not credentials.secret_matches(secret, found.key.hash):
            raise unauthenticated()
        if found.key.expires_at is not None and self._clock.now() >= found.key.expires_at:
            raise unauthenticated()
        return found.principal

    async def _fetched(self, key_id: str) -> _Cached | None:
        """One look-up for all requests that come while it is under way."""
        task = self._fetching.get(key_id)
        if task is None:
            task = self._fetching[key_id] = asyncio.create_task(self._fetch(key_id))
        return await asyncio.shield(task)

    async def _fetch(self, key_id: str) -> _Cached | None:
        asked_at = self._clock.monotonic()
        task = asyncio.current_task()
        self._cached.pop(key_id, None)
        try:
            key = await self._find_key(key_id)
            found = None if key is None else _Cached(key, principal_from(key), asked_at)
            if found is not None and self._fetching.get(key_id) is task:
                while len(self._cached) >= _MAX_CACHED:
                    del self._cached[next(iter(self._cached))]
                self._cached[key_id] = found
            return found
        finally:
            if self._fetching.get(key_id) is task:
                del self._fetching[key_id]


def principal_from(key: registry.StoredKey) -> credentials.Principal:
    """Who acts when this key is presented."""
    return credentials.Principal(
        tenant=key.tenant,
        key_id=key.id,
        verbs=key.verbs,
        collections=key.collections,
        filter=filters.from_json(key.filter_json) if key.filter_json else None,
    )


class Middleware:
    """Refuses whoever has no valid credential; routes find the principal by `principal_of`."""

    def __init__(self, app: types.ASGIApp, *, authenticator: Authenticator, open_prefixes: Sequence[str] = ()) -> None:
        self._app = app
        self._authenticator = authenticator
        self._open_prefixes = tuple(open_prefixes)

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and self._is_guarded(scope["path"]):
            values = [value for name, value in scope["headers"] if name == b"authorization"]
            header = values[0].decode("latin-1") if len(values) == 1 else None
            scope[PRINCIPAL_KEY] = await self._authenticator.authenticate(header)
        await self._app(scope, receive, send)

    def _is_guarded(self, path: str) -> bool:
        if path != GUARDED and not path.startswith(GUARDED + "/"):
            return False
        return not (self._open_prefixes and path.startswith(self._open_prefixes))


def principal_of(request: requests.Request, verb: credentials.Verb) -> credentials.Principal:
    """Who is asking, if the key has the verb; 403 if not."""
    principal: credentials.Principal | None = request.scope.get(PRINCIPAL_KEY)
    if principal is None:
        raise unauthenticated()
    if not principal.allows(verb):
        raise errors.Refusal(Reason.FORBIDDEN, f"This needs a key with the verb '{verb.value}'.")
    return principal


def require_collection(principal: credentials.Principal, collection: str) -> None:
    """Outside of the key's globs a collection answers exactly as one that does not exist."""
    if not principal.sees(collection):
        raise collection_not_found(collection)


def collection_not_found(collection: str) -> errors.Refusal:
    """The one answer for a collection that is not there, or not for this key."""
    return errors.Refusal(Reason.COLLECTION_NOT_FOUND, f"There is no collection '{collection[:63]}'.")


def unauthenticated() -> errors.Refusal:
    """The one answer for every cause: no key, a wrong one, an expired one, a revoked one."""
    return errors.Refusal(Reason.UNAUTHENTICATED, "Send 'Authorization: Bearer bw_…' with a valid API key.")


def _bearer(authorization: str | None) -> str:
    scheme, _, secret = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        raise unauthenticated()
    return secret.strip(" ")
