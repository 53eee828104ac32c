import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import Response

from bloomweaver.domain import credentials, errors
from bloomweaver.domain.reasons import Reason
from bloomweaver.runtime.web import answers, authentication, paths
from tests.support import web


def guarded(**options):
    router = paths.router()

    @router.get("/v1/collections/{collection:collection}")
    async def read(request: Request, collection: str) -> Response:
        principal = authentication.principal_of(request, credentials.Verb.READ)
        authentication.require_collection(principal, collection)
        return answers.as_json({"tenant": principal.tenant})

    @router.post("/v1/ingest/{name:segment}")
    async def ingest(request: Request, name: str) -> Response:
        return answers.as_json({})

    return web.stack(router, **options)


async def status(stack, *, key=None, headers=None, path="/v1/collections/a"):
    async with stack.client(key, headers) as client:
        return (await client.get(path)).status_code


async def test_a_valid_key_names_its_tenant():
    stack = guarded()
    async with stack.client(stack.keys.add(tenant="other")) as client:
        assert (await client.get("/v1/collections/a")).json() == {"tenant": "other"}


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer x", "Basic YTpi", "bw_aaaaaaaa_" + "x" * 43, "Bearer bw_aaaaaaaa_" + "x" * 43,
     "Bearer bw_" + "x" * 100_000, "Token {secret}", "Bearer {secret}x", "Bearer {secret} x", "Bearer x {secret}"],
    ids=lambda header: header[:20],
)  # fmt: skip
async def test_every_cause_of_a_401_reads_the_same(authorization):
    stack = guarded()
    header = authorization.replace("{secret}", stack.keys.add().secret)
    async with stack.client(headers={"authorization": header}) as client:
        wrong = await client.get("/v1/collections/a")
    async with stack.client() as client:
        none = await client.get("/v1/collections/a")
    assert wrong.status_code == 401
    assert wrong.json() == none.json()


async def test_a_wrong_secret_with_a_known_id_is_refused():
    stack = guarded()
    secret = stack.keys.add().secret
    forged = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    assert await status(stack, headers={"authorization": f"Bearer {forged}"}) == 401


async def test_two_credentials_are_none():
    stack = guarded()
    secret = stack.keys.add().secret
    async with stack.client() as client:
        headers = [("authorization", f"Bearer {secret}"), ("authorization", f"Bearer {secret}")]
        assert (await client.get("/v1/collections/a", headers=headers)).status_code == 401


async def test_the_credential_is_checked_before_anything_else():
    stack = guarded()
    for path in ("/v1", "/v1/", "/v1/nowhere", "/v1/collections/%ff", "/v1/collections/A"):
        assert await status(stack, path=path) == 401
    async with stack.client() as client:
        assert (await client.delete("/v1/collections/a", headers={"content-encoding": "gzip"})).status_code == 401


async def test_a_missing_verb_is_forbidden_whatever_the_other_verbs():
    stack = guarded()
    assert await status(stack, key=stack.keys.add(verbs=("write", "admin"))) == 403


async def test_outside_of_its_globs_a_key_sees_nothing():
    stack = guarded()
    key = stack.keys.add(collections=("b*",))
    assert await status(stack, key=key, path="/v1/collections/a") == 404
    assert await status(stack, key=key, path="/v1/collections/b1") == 200


async def test_a_key_ends_when_it_said_so_also_if_remembered():
    stack = guarded()
    key = stack.keys.add(expires_at=stack.clock.now() + 1)
    assert await status(stack, key=key) == 200
    stack.clock.advance(1)
    assert await status(stack, key=key) == 401


async def test_a_key_is_looked_up_once_in_five_seconds():
    stack = guarded()
    key = stack.keys.add()
    for _ in range(3):
        await status(stack, key=key)
    assert stack.keys.asked == 1
    stack.clock.advance(5)
    await status(stack, key=key)
    assert stack.keys.asked == 2


async def test_requests_that_come_together_share_one_look_up():
    clock, keys = web.ManualClock(), web.Keys(web.CountingNonces())
    key = keys.add()

    async def slow_find(key_id):
        await asyncio.sleep(0)
        return await keys.find(key_id)

    authenticator = authentication.KeyAuthenticator(slow_find, clock=clock)
    found = await asyncio.gather(*(authenticator.authenticate(f"Bearer {key.secret}") for _ in range(5)))
    assert [principal.key_id for principal in found] == [key.id] * 5
    assert keys.asked == 1


async def test_a_request_after_a_revocation_does_not_share_a_look_up_from_before_it():
    clock, keys = web.ManualClock(), web.Keys(web.CountingNonces())
    key = keys.add()
    go_on = asyncio.Event()

    async def slow_find(key_id):
        found = await keys.find(key_id)
        await go_on.wait()
        return found

    authenticator = authentication.KeyAuthenticator(slow_find, clock=clock)
    before = asyncio.create_task(authenticator.authenticate(f"Bearer {key.secret}"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del keys.stored[key.id]
    authenticator.invalidate(key.id)
    after = asyncio.create_task(authenticator.authenticate(f"Bearer {key.secret}"))
    go_on.set()
    await before
    with pytest.raises(errors.Refusal):
        await after


async def test_a_revoked_key_is_refused_at_once_here_and_in_five_seconds_elsewhere():
    here, elsewhere = guarded(), guarded()
    elsewhere.keys.stored = here.keys.stored
    key = here.keys.add()
    assert [await status(here, key=key), await status(elsewhere, key=key)] == [200, 200]
    del here.keys.stored[key.id]
    here.authenticator.invalidate(key.id)
    assert [await status(here, key=key), await status(elsewhere, key=key)] == [401, 200]
    elsewhere.clock.advance(5)
    assert await status(elsewhere, key=key) == 401


async def test_a_look_up_that_was_under_way_during_a_revocation_is_not_remembered():
    clock, keys = web.ManualClock(), web.Keys(web.CountingNonces())
    key = keys.add()
    looked_up, go_on = asyncio.Event(), asyncio.Event()

    async def slow_find(key_id):
        found = await keys.find(key_id)
        looked_up.set()
        await go_on.wait()
        return found

    authenticator = authentication.KeyAuthenticator(slow_find, clock=clock)
    header = f"Bearer {key.secret}"
    first = asyncio.create_task(authenticator.authenticate(header))
    await looked_up.wait()
    del keys.stored[key.id]
    authenticator.invalidate(key.id)
    go_on.set()
    await first
    with pytest.raises(errors.Refusal):
        await authenticator.authenticate(header)


async def test_a_ledger_that_does_not_answer_lets_nobody_through():
    async def find(key_id):
        raise errors.TransientError(Reason.LEDGER_UNAVAILABLE)

    key = web.Keys(web.CountingNonces()).add()
    authenticator = authentication.KeyAuthenticator(find, clock=web.ManualClock())
    with pytest.raises(errors.TransientError):
        await authenticator.authenticate(f"Bearer {key.secret}")


async def test_signed_sources_check_credentials_of_their_own():
    stack = guarded(open_prefixes=("/v1/ingest/",))
    async with stack.client() as client:
        assert (await client.post("/v1/ingest/x")).status_code == 200
        assert (await client.post("/v1/ingestion/x")).status_code == 401


async def test_a_route_that_needs_a_principal_fails_closed_where_nobody_checked():
    router = paths.router()

    @router.get("/outside")
    async def outside(request: Request) -> Response:
        authentication.principal_of(request, credentials.Verb.READ)
        return answers.as_json({})

    assert await status(web.stack(router), path="/outside") == 401


async def test_the_filter_of_a_key_reaches_the_principal():
    keys = web.Keys(web.CountingNonces())
    key = keys.add(filter_json='{"team":{"$eq":"hr"}}')
    authenticator = authentication.KeyAuthenticator(keys.find, clock=web.ManualClock())
    principal = await authenticator.authenticate(f"bearer {key.secret}")
    assert principal.filter is not None
