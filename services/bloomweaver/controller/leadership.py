"""One controller acts at a time: whoever holds the Lease.

Invariant: a holder that could not renew it within its time stops acting before another may begin, because it gives up
earlier than the Lease runs out; times of others are never trusted, only how long the Lease has stayed as it is.
"""

import datetime as dt
from typing import Any, Final

from bloomweaver.controller import apply
from bloomweaver.ports import clock as clocks

LEASE_SECONDS: Final = 15
RENEW_SECONDS: Final = 3.0
GIVEN_UP_SECONDS: Final = 10.0


class Leadership:
    """identity: of this process. Call `renew` every RENEW_SECONDS."""

    def __init__(
        self, cluster: apply.Cluster, *, namespace: str, name: str, identity: str, clock: clocks.Clock
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._renewed: float | None = None
        self._seen: tuple[str, float] | None = None

    @property
    def leads(self) -> bool:
        """Whether this process may act."""
        return self._renewed is not None and self._clock.monotonic() - self._renewed < GIVEN_UP_SECONDS

    async def renew(self) -> bool:
        """Take the Lease, or keep it; whether this process may act."""
        began = self._clock.monotonic()
        lease = await self._cluster.get("Lease", namespace=self._namespace, name=self._name)
        if lease is not None and not self._may_take(lease):
            self._renewed = None
            return False
        if await self._cluster.replace(self._body(lease)):
            self._renewed = began
        return self.leads

    async def resign(self) -> None:
        """Leave it to another at once."""
        if not self.leads:
            return
        self._renewed = None
        lease = await self._cluster.get("Lease", namespace=self._namespace, name=self._name)
        if lease is not None and _holder(lease) == self._identity:
            await self._cluster.replace({**lease, "spec": {**lease["spec"], "holderIdentity": ""}})

    def _may_take(self, lease: dict[str, Any]) -> bool:
        if _holder(lease) in {"", self._identity}:
            return True
        version = str(lease["metadata"]["resourceVersion"])
        now = self._clock.monotonic()
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, now)
        return now - self._seen[1] > LEASE_SECONDS

    def _body(self, lease: dict[str, Any] | None) -> dict[str, Any]:
        now = dt.datetime.fromtimestamp(self._clock.now(), dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": self._identity, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now}
        if lease is not None:
            return {**lease, "spec": spec}  # with the labels of whoever made it
        meta = {"name": self._name, "namespace": self._namespace}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}


def _holder(lease: dict[str, Any]) -> str:
    """Empty where nobody has it, and where it was made for us and nobody ever had it."""
    return lease.get("spec", {}).get("holderIdentity") or ""
