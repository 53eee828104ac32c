"""A key in a store, for processes that are started over it afterwards."""

from typing import Any

from bloomweaver.adapters import opening
from bloomweaver.domain import credentials, identity
from bloomweaver.ports import registry

TENANT = identity.TenantId("default")


async def added(store: Any, *, name: str = "test") -> str:
    """The secret of a key that may do everything, in a store that is open."""
    key = credentials.new_key(opening.system_nonces().secret)
    await store.database.registry.add_key(
        registry.StoredKey(
            id=key.id,
            tenant=TENANT,
            name=name,
            hash=key.hash,
            verbs=frozenset(verb.value for verb in credentials.Verb),
            collections=("*",),
            created_at=0.0,
        )
    )
    return key.secret


async def prepared(url: str) -> str:
    """The same in the store that a URL names; its tables are made where there are none."""
    clock, nonces = opening.system_clock(), opening.system_nonces()
    async with opening.open_store(opening.profile(url), clock=clock, nonces=nonces) as store:
        return await added(store)
