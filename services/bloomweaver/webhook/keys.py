"""API keys: made, listed, revoked. A secret is in one answer only; no key makes one that reaches further than it."""

from collections.abc import Callable
from dataclasses import dataclass

import fastapi
from starlette import requests, responses

from bloomweaver.domain import credentials, errors, filters
from bloomweaver.domain.credentials import Verb
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import clock as clocks
from bloomweaver.ports import registry as registries
from bloomweaver.runtime.web import answers, authentication, bodies, paths
from bloomweaver.webhook import answering, changes, parameters
from bloomweaver.webhook.schemas import keys as schemas


@dataclass(frozen=True, slots=True)
class KeyRoutes:
    """The endpoints. forget: told of a revoked key, so that it ends at once in this process."""

    registry: registries.Registry
    clock: clocks.Clock
    nonces: clocks.Nonces
    forget: Callable[[str], None]

    def router(self) -> fastapi.APIRouter:
        """The routes."""
        made = paths.router(tags=["keys"])
        made.add_api_route(
            "/v1/keys",
            self.create,
            methods=["POST"],
            status_code=201,
            summary="Make a key; its secret is shown once",
            responses={201: {"model": schemas.MadeKey}},
            openapi_extra=bodies.operation(schemas.NewKey),
        )
        made.add_api_route(
            "/v1/keys",
            self.page,
            methods=["GET"],
            summary="Keys, without their secrets",
            responses={200: {"model": schemas.KeyList}},
            openapi_extra=parameters.documented(*parameters.PAGING),
        )
        made.add_api_route(
            "/v1/keys/{key_id:segment}",
            self.revoke,
            methods=["DELETE"],
            summary="Revoke a key",
            responses={200: {"model": schemas.RevokedKey}},
        )
        return made

    async def create(self, request: requests.Request) -> responses.Response:
        """Make a key of this tenant."""
        principal = authentication.principal_of(request, Verb.ADMIN)
        parameters.read(request)
        body = await bodies.read_json(request, schemas.NewKey)
        name = changes.text_of(body.name, "/name", longest=200) or ""
        verbs = credentials.check_verbs(body.verbs)
        globs = credentials.check_globs(body.collections)
        _refuse_more(principal, globs)
        bound = filters.and_(principal.filter, parse_filter(body.filter))
        new = credentials.new_key(self.nonces.secret)
        key = registries.StoredKey(
            id=new.id,
            tenant=principal.tenant,
            name=name,
            hash=new.hash,
            verbs=verbs,
            collections=globs,
            created_at=self.clock.now(),
            expires_at=self._expiry(body.expires_at),
            filter_json=None if bound is None else filters.to_json(bound),
        )
        await self.registry.add_key(key)
        answer = {**key_json(key), "secret": new.secret}
        return answers.as_json(answer, status=201, headers={"Cache-Control": "no-store"})

    async def page(self, request: requests.Request) -> responses.Response:
        """Keys by id."""
        principal = authentication.principal_of(request, Verb.ADMIN)
        parameters.read(request, *parameters.PAGING)
        page = answers.page_of(request)
        keys = sorted(await self.registry.keys(principal.tenant), key=lambda key: key.id)
        found = [key for key in keys if key.id > (page.after or "")]
        shown = found[: page.limit]
        after = shown[-1].id if len(found) > page.limit else None
        return answers.as_page([key_json(key) for key in shown], after=after)

    async def revoke(self, request: requests.Request, key_id: str) -> responses.Response:
        """It ends at once here, and within 5 s in other processes. The last admin key stays."""
        principal = authentication.principal_of(request, Verb.ADMIN)
        parameters.read(request)
        if not await self.registry.revoke_key(principal.tenant, key_id):
            raise errors.Refusal(Reason.KEY_NOT_FOUND, "There is no such key.")
        self.forget(key_id)
        return answers.as_json({"id": key_id, "revoked": True})

    def _expiry(self, text: str | None) -> float | None:
        if text is None:
            return None
        moment = changes.moment_of(text, "/expires_at")
        if moment <= self.clock.now():
            changes.refuse("/expires_at", "a time to come")
        return moment


def parse_filter(value: dict[str, object] | None) -> filters.Filter | None:
    """A mandatory filter from a body."""
    if value is None:
        return None
    try:
        return filters.parse(value)
    except filters.FilterError as error:
        changes.refuse(f"/filter{error.pointer}", error.detail, Reason.INVALID_FILTER)


def key_json(key: registries.StoredKey) -> answering.Json:
    """A key in an answer."""
    return {
        "id": key.id,
        "name": key.name,
        "verbs": sorted(key.verbs),
        "collections": list(key.collections),
        "created_at": answering.timestamp(key.created_at),
        "expires_at": answering.timestamp(key.expires_at),
        "filter": filters.to_object(filters.from_json(key.filter_json)) if key.filter_json else None,
    }


def _refuse_more(principal: credentials.Principal, globs: tuple[str, ...]) -> None:
    """A glob that the caller has itself, or a plain name that it sees; anything else could reach further."""
    for index, glob in enumerate(globs):
        plain = "*" not in glob and "?" not in glob
        if "*" in principal.collections or glob in principal.collections or (plain and principal.sees(glob)):
            continue
        detail = "a key cannot be made for collections that this key does not see"
        raise errors.Refusal(Reason.FORBIDDEN, f"{detail.capitalize()}.", pointers=((f"/collections/{index}", detail),))
