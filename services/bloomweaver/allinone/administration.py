"""What the owner of the data folder does without the HTTP surface: tenants and their first keys, and after a restore.

There is no route for these on purpose: a tenant comes from a credential, so no credential can make another tenant.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bloomweaver.domain import credentials
from bloomweaver.domain.identity import TenantId
from bloomweaver.ports import clock as clocks
from bloomweaver.ports import registry
from bloomweaver.webhook import managing


@dataclass(frozen=True, slots=True)
class Administration:
    """See the module's docstring."""

    registry: registry.Registry
    collections: managing.Collections
    clock: clocks.Clock
    nonces: clocks.Nonces

    async def create_key(
        self, tenant: TenantId, *, name: str, verbs: Sequence[str], collections: Sequence[str]
    ) -> credentials.NewKey:
        """A key of a tenant, which is made with its collection `default` if it is not there."""
        checked, globs = credentials.check_verbs(verbs), credentials.check_globs(collections)
        await self.collections.welcome(tenant)
        made = credentials.new_key(self.nonces.secret)
        await self.registry.add_key(
            registry.StoredKey(
                id=made.id,
                tenant=tenant,
                name=name,
                hash=made.hash,
                verbs=checked,
                collections=globs,
                created_at=self.clock.now(),
            )
        )
        return made

    async def restored(self) -> None:
        """The ledger came from a backup: sequence numbers go on above all that were ever given."""
        await self.registry.restored()
