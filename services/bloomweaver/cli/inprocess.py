"""What the command line does with the services in this process: `migrate`, and the first key of a tenant."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from bloomweaver.allinone import main
from bloomweaver.cli import client, failures, surroundings
from bloomweaver.domain.identity import TenantId

if TYPE_CHECKING:
    from bloomweaver.allinone import running
    from bloomweaver.allinone import settings as dev_settings

TENANT = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


async def create_tenant_key(
    data: Path,
    settings: "dev_settings.DevSettings",
    *,
    tenant: str,
    name: str,
    verbs: Sequence[str],
    collections: Sequence[str],
) -> dict[str, Any]:
    """Make a key, and its tenant if need be, in the data folder."""
    if not TENANT.fullmatch(tenant):
        raise failures.usage(f"'{tenant}' cannot name a tenant.", advice="Use 1 to 63 of a-z, 0-9, '.', '_' and '-'.")
    async with main.administered(data, settings, purpose="bloomweaver keys create") as owner:
        made = await owner.create_key(TenantId(tenant), name=name, verbs=verbs, collections=collections)
    return {
        "tenant": tenant,
        "id": made.id,
        "name": name,
        "verbs": list(verbs),
        "collections": list(collections),
        "secret": made.secret,
    }


async def examined(settings: "dev_settings.DevSettings") -> dict[str, failures.Failure | None]:
    """Why each store on a server cannot be used; None where it can."""
    found = await main.examined(settings)
    return {part: None if error is None else failures.of_domain(error) for part, error in found.items()}


async def migrate_servers(settings: "dev_settings.DevSettings", *, restored: bool) -> list[dict[str, Any]] | None:
    """What was done where the store is on servers; None where it is the data folder's."""
    return await main.migrate(settings, restored=restored)


async def migrate(data: Path, settings: "dev_settings.DevSettings", *, restored: bool) -> dict[str, Any] | None:
    """Opening migrates. After a restore: a new epoch, then an audit that repairs; gives what the audit found."""
    idle = settings.model_copy(update={"workers": False})
    async with main.opened(data, idle, purpose="bloomweaver migrate") as service:
        if not restored:
            return None
        await service.administration.restored()
        async with client.open_api(target_of(service, data), transport=transport_of(service)) as api:
            return await api.post("/v1/audit", {"repair": True})


def target_of(service: "running.Running", data: Path) -> surroundings.Target:
    """A service of this process, as a target."""
    return surroundings.Target(surroundings.DEFAULT_URL, service.key, str(data / "key"), data)


def transport_of(service: "running.Running") -> httpx2.AsyncBaseTransport:
    """The way to it without a socket."""
    return httpx2.ASGITransport(service.app)
