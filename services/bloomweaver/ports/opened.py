"""Every port at once, open: what a composition root hands to the services that it builds."""

from dataclasses import dataclass

from bloomweaver.ports import blobs, caches, healing, history, ledger, queues, registry, vectors
from bloomweaver.ports import clock as clocks


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything outside. deployment: the id that namespaces and blob keys begin with. cache: None for none.
    leases: where processes share the turns of rates, None where they cannot.
    """

    ledger: ledger.Ledger
    healing: healing.Healing
    registry: registry.Registry
    history: history.History
    queues: queues.Queues
    blobs: blobs.Blobs
    vectors: vectors.Vectors
    clock: clocks.Clock
    nonces: clocks.Nonces
    deployment: str
    cache: caches.Cache | None = None
    leases: caches.Leases | None = None
