"""The ledger's clock on DynamoDB, which has none that a client can read: this machine's, held to what answers say.

Every answer carries the service's time in whole seconds. Sent at `a` and received at `b` by our clock, it bounds how
far we are off: between `date - b` and `date + 1 - a`. Bounds of many answers are intersected; a clock inside them is
left alone, one outside is corrected to the nearest bound. So processes agree to about the time that an answer takes,
which is far below every age that the protocol compares.
"""

import email.utils

from bloomweaver.ports import clock as clocks

APART_SECONDS = 2.0
"""More than the clocks of two processes are apart. What must have come after another's work came so much later."""

FORGOTTEN_SECONDS = 600.0
"""Bounds are found anew after so long: clocks drift, and are set."""


class ServiceClock:
    """Bounds from answers around a machine's clock."""

    def __init__(self, clock: clocks.Clock) -> None:
        self._clock = clock
        self._low = self._high = 0.0
        self._until: float | None = None

    def now(self) -> float:
        """Seconds since the epoch."""
        here = self._clock.now()
        if self._until is None:
            return here
        return here + min(max(0.0, self._low), self._high)

    def monotonic(self) -> float:
        """For measuring."""
        return self._clock.monotonic()

    def observe(self, date: str, *, sent_at: float, received_at: float) -> None:
        """An answer's Date header; the times are those of the machine's own clock (`here`)."""
        try:
            told = email.utils.parsedate_to_datetime(date).timestamp()
        except ValueError:
            return
        low, high, now = told - received_at, told + 1.0 - sent_at, self._clock.monotonic()
        if high < low:  # our clock was set while we waited
            return
        if self._until is None or now > self._until or high < self._low or low > self._high:
            self._low, self._high, self._until = low, high, now + FORGOTTEN_SECONDS
        else:
            self._low, self._high = max(low, self._low), min(high, self._high)

    def here(self) -> float:
        """The machine's own clock."""
        return self._clock.now()
