"""The tree of errors. Adapters translate vendors' errors into it; only the consumer loop and the HTTP edge catch them.

BloomWeaverError
├── WorkError                 raised while working on a hint
│   ├── TransientError        throttle or outage: retried after `retry_after_seconds`, never counted
│   ├── RetryableError        may be the document's fault: counted, retried at 1, 5, 30, 120 s, then failed
│   └── PermanentError        the document's fault: fails at once
├── ConfigurationError        nothing about documents: stop receiving, turn unready, touch no row
│   └── NotMigratedError      a migration puts it right: a process waits for it, a command says so
└── Refusal                   a client's request cannot be done: an HTTP problem, a line of the CLI
"""

from bloomweaver.domain.reasons import Reason


class BloomWeaverError(Exception):
    """Something BloomWeaver can name: `reason` for machines, `detail` for the person."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail


class WorkError(BloomWeaverError):
    """Work on one document, or one batch, did not succeed."""


class TransientError(WorkError):
    """A dependency is throttled, locked or away. Try again later; the document is not to blame."""

    def __init__(self, reason: Reason, detail: str = "", *, retry_after_seconds: float = 1.0) -> None:
        super().__init__(reason, detail)
        self.retry_after_seconds = retry_after_seconds


class RetryableError(WorkError):
    """It failed and the document may be the cause: counted against its attempts."""


class PermanentError(WorkError):
    """This content can never be processed as it is. Send a corrected version."""


class ConfigurationError(BloomWeaverError):
    """The process is set up wrongly. Correct the setting named here and start it again."""


class NotMigratedError(ConfigurationError):
    """The store's tables are older than this release, or not made yet. `bloomweaver migrate` makes them."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.SCHEMA_TOO_OLD, detail)


class Refusal(BloomWeaverError):
    """A request that cannot be done as asked.

    pointers: JSON pointers into the request with what is wrong there.
    """

    def __init__(self, reason: Reason, detail: str = "", *, pointers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(reason, detail)
        self.pointers = pointers
