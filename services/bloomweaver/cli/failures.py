"""What a person reads when something does not work: what, why, what next. Never a traceback.

`Failure` is the only error that leaves a command; `problem` makes one of an HTTP problem, `of_domain` of an error that
BloomWeaver names itself. Exit codes are part of the contract with scripts: docs/reference/cli.md lists them.
"""

from collections.abc import Mapping
from enum import IntEnum

from bloomweaver.domain import errors, explanations
from bloomweaver.domain.reasons import Reason


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_ALLOWED = 4
    IN_PROGRESS = 5
    INTERRUPTED = 130


class Failure(Exception):
    """what: one sentence without jargon. why: the cause. advice: what to do next. link: where more is written.

    passing: whether it may be otherwise in a moment; after_seconds: in how long, where the server said so.
    """

    passing = False
    after_seconds: float | None = None

    def __init__(
        self,
        what: str,
        *,
        why: str = "",
        advice: str = "",
        code: ExitCode = ExitCode.FAILED,
        reason: str = "",
        link: str = "",
    ) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.advice = advice
        self.code = code
        self.reason = reason
        self.link = link

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "error": {
                "what": self.what,
                "why": self.why or None,
                "next": self.advice or None,
                "reason": self.reason or None,
                "link": self.link or None,
                "exit_code": int(self.code),
            }
        }

    def lines(self) -> list[str]:
        """For a person."""
        named = (("why ", self.why), ("next", self.advice), ("more", self.link))
        return [f"Error: {self.what}", *(f"  {name}  {text}" for name, text in named if text)]


def usage(what: str, *, advice: str = "") -> Failure:
    """The command line itself cannot be meant."""
    return Failure(what, advice=advice, code=ExitCode.USAGE)


def problem(status: int, body: Mapping[str, object], *, base_url: str) -> Failure:
    """An HTTP problem, told to a person."""
    reason = str(body.get("reason") or "")
    pointers = body.get("errors")
    why = str(body.get("detail") or "")
    if isinstance(pointers, list):
        told = [f"{item.get('pointer')}: {item.get('detail')}" for item in pointers if isinstance(item, dict)]
        new = [line for line in told if line.partition(": ")[2] not in why]
        why = "; ".join([*([why] if why else []), *new[:3]])
    what = str(body.get("title") or f"The server answered {status}") + "."
    relative = body.get("type")
    return Failure(
        what,
        why="" if why == what else why,
        advice=next_of(reason),
        code=code_of(status),
        reason=reason,
        link=f"{base_url}{relative}" if isinstance(relative, str) and relative.startswith("/") else "",
    )


def code_of(status: int) -> ExitCode:
    """The exit code of an HTTP status that is not a success."""
    if status in (401, 403):
        return ExitCode.NOT_ALLOWED
    if status in (413, 415, 422):
        return ExitCode.USAGE
    if status == 429 or status >= 500:
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED


def of_domain(error: errors.BloomWeaverError) -> Failure:
    """An error that arose in this process, in `dev`, `try` or `migrate`."""
    explanation = explanations.of(error.reason)
    return Failure(explanation.meaning, why=error.detail, advice=explanation.next, reason=error.reason.value)


def next_of(reason: str) -> str:
    """What a person does about a reason; empty for one that this release does not know."""
    try:
        return explanations.of(Reason(reason)).next
    except ValueError:
        return ""


def meaning_of(reason: str) -> str:
    """What a reason means; the word itself where this release does not know it."""
    try:
        return explanations.of(Reason(reason)).meaning
    except ValueError:
        return reason
