"""Sequence numbers: leased in blocks, so that an accept does not wait for a counter that all others want too.

Invariants: a number is given once, in all processes; it is greater than `above`, the number of the row that it is for;
and a block is used for a minute at most, so that a document that was purged (a month after its delete) never finds a
number from before.
"""

import asyncio
from collections.abc import Awaitable, Callable

from bloomweaver.domain import errors, identity
from bloomweaver.domain.reasons import Reason

BLOCK = 256
KEPT_SECONDS = 60.0

Lease = Callable[[int], Awaitable[tuple[int, int]]]


class Sequence:
    """This process's block. lease: takes so many numbers, gives the epoch and the last of them."""

    def __init__(self, lease: Lease, *, monotonic: Callable[[], float]) -> None:
        self._lease = lease
        self._monotonic = monotonic
        self._next = 1
        self._last = 0
        self._until = 0.0
        self._leasing = asyncio.Lock()

    async def take(self, *, above: int) -> int:
        """A number that nobody else has, greater than `above`."""
        if not self._usable(above):
            async with self._leasing:
                if not self._usable(above):
                    await self._renew()
        if self._next <= above:
            detail = f"The table gives sequence numbers below {above}, which it has given before: it was restored."
            detail += " Run bloomweaver migrate --restored."
            raise errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail)
        taken = self._next
        self._next += 1
        return taken

    def drop(self) -> None:
        """What is left of the block is not used."""
        self._last = 0

    def _usable(self, above: int) -> bool:
        return above < self._next <= self._last and self._monotonic() < self._until

    async def _renew(self) -> None:
        until = self._monotonic() + KEPT_SECONDS
        epoch, last = await self._lease(BLOCK)
        floor = identity.first_seq(epoch)
        self._next, self._last, self._until = floor + last - BLOCK + 1, floor + last, until
