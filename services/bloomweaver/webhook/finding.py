"""What a credential may see: collections within its globs, documents that pass its mandatory filter.

Invariant: what a key may not see answers exactly as what does not exist, in every read, list and count.
"""

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

from bloomweaver.domain import credentials, errors, filters
from bloomweaver.domain.documents import Collection, DocumentKey, Meta, Revision, Row, State
from bloomweaver.domain.identity import DocumentId
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import ledger, registry
from bloomweaver.runtime.web import authentication

PAGE = 1000


class Finder:
    """Looks things up on behalf of a principal."""

    def __init__(self, *, ledger: ledger.Ledger, registry: registry.Registry) -> None:
        self._ledger = ledger
        self._registry = registry

    async def collection(self, principal: credentials.Principal, name: str) -> Collection:
        """The collection, or 404."""
        authentication.require_collection(principal, name)
        collection = await self._registry.collection(principal.tenant, name)
        if collection is None:
            raise authentication.collection_not_found(name)
        return collection

    async def collections(self, principal: credentials.Principal) -> list[Collection]:
        """All that the key sees, by name."""
        found = await self._registry.collections(principal.tenant)
        return sorted((c for c in found if principal.sees(c.name)), key=lambda collection: collection.name)

    async def look(self, principal: credentials.Principal, name: str, document_id: str) -> ledger.Look:
        """All that is known of a document, or 404."""
        collection = await self.collection(principal, name)
        key = DocumentKey(collection.uid, DocumentId(document_id))
        look = (await self._ledger.look([key]))[0]
        if look is None or not shows(principal, look.revision(look.row.seq)):
            raise no_document()
        return look

    async def rows(self, principal: credentials.Principal, collections: Iterable[Collection]) -> list[Row]:
        """Every row that a filtered key sees. It reads them all: such keys are few, and a count must not tell more."""
        found: list[Row] = []
        for collection in collections:
            for state in (None, State.DELETED):
                listing = ledger.Listing(collection.uid, limit=PAGE, state=state)
                found.extend([row async for row, _ in self.documents(principal, listing)])
        return found

    async def documents(
        self, principal: credentials.Principal, listing: ledger.Listing
    ) -> AsyncIterator[tuple[Row, Revision]]:
        """Rows of a listing, from `listing.after` to its end, that the key sees; read page by page."""
        if principal.filter is not None:
            listing = replace(listing, limit=PAGE)  # most of a page may be hidden
        while True:
            page = await self._ledger.documents(listing)
            for row, revision in page:
                if shows(principal, revision):
                    yield row, revision
            if len(page) < listing.limit:
                return
            listing = replace(listing, after=page[-1][0].key.document_id)


def shows(principal: credentials.Principal, revision: Revision | None) -> bool:
    """Whether the mandatory filter lets the document through. What has no metadata is judged as having none."""
    if principal.filter is None:
        return True
    meta = revision.meta if revision is not None else Meta()
    return filters.matches(principal.filter, meta.metadata)


def no_document() -> errors.Refusal:
    """The one answer for a document that is not there, or not for this key."""
    return errors.Refusal(Reason.DOCUMENT_NOT_FOUND, "There is no such document.")
