"""An engine that several ports share speaks of the ledger; whoever calls a port hears of that port's store."""

import contextlib
from collections.abc import Iterator

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason


@contextlib.contextmanager
def unavailable_as(reason: Reason) -> Iterator[None]:
    """An engine that is away is told with the reason of this port; all else as it is."""
    try:
        yield
    except errors.TransientError as error:
        if error.reason is not Reason.LEDGER_UNAVAILABLE:
            raise
        raise errors.TransientError(reason, error.detail, retry_after_seconds=error.retry_after_seconds) from error
