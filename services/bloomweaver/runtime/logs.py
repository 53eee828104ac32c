"""Log lines: one JSON object, or for people one readable line, per event.

Invariants, kept by `protect`, which every line passes, also those of libraries: no secret and no text of a document is
written, whatever a caller puts into an event; tracebacks carry no local variables. A line inside a request names it.

    logs.configure(form="json", level="info", stream=sys.stderr)
    log = logger.get("bloomweaver.webhook")
    log.info("accepted", outcome="created", seq=17)
"""

import json
import logging
import re
from collections.abc import Mapping
from typing import Final, Literal, TextIO

from bloomweaver import logger
from bloomweaver.runtime import context

structlog = logger.structlog

MASK: Final = "***"
LEFT_OUT: Final = "(left out)"
MAX_CHARACTERS: Final = 500
MAX_TRACEBACK_CHARACTERS: Final = 8000

_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_SECRET_KEYS: Final = frozenset(
    {"authorization", "secret", "secrets", "password", "token", "api_key", "cookie", "credential", "credentials", "key"}
)
_CONTENT_KEYS: Final = frozenset({"text", "body", "content", "query", "chunk", "chunks", "title", "metadata", "filter"})
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, default=str)
_SIGNS: Final = ("bw_", "whsec_", "://", "earer ")
_SECRETS: Final = re.compile(
    r"bw_[a-z2-7]{8}_[A-Za-z0-9_-]{43}"  # an API key
    r"|whsec_[A-Za-z0-9+/]+=*"  # the secret of a signed source
    r"|(?<=://)[^/@\s]+(?=@)"  # user and password of a URL
    r"|(?<=[Bb]earer )\S+"
)


def configure(*, form: Literal["json", "console"], level: str, stream: TextIO) -> None:
    """Set up logging for the process, that of libraries included. Called once, by a main.py."""
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
        add_context,
        protect,
    ]
    render: structlog.typing.Processor = structlog.processors.JSONRenderer(_serialise)
    if form == "console":
        render = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), timestamp_key="at", exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(_LEVELS[level], logging.WARNING), force=True)


def form_of(wish: Literal["auto", "json", "console"], stream: TextIO) -> Literal["json", "console"]:
    """What `auto` means: a terminal has a person before it, everything else a machine."""
    if wish == "auto":
        return "console" if stream.isatty() else "json"
    return wish


def masked(text: str) -> str:
    """A text without what looks like a secret."""
    return _SECRETS.sub(MASK, text)


def _serialise(event: Mapping[str, object], **_: object) -> str:
    return _ENCODER.encode(event)


def add_context(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Name the request, unless the event does so itself."""
    here = context.current()
    if here.request_id:
        event.setdefault("request_id", here.request_id)
    if here.traceparent:
        event.setdefault("trace_id", here.traceparent.split("-")[1])
    return event


def protect(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Mask secrets, leave out the text of documents, bound every value."""
    return {key: _protected(key, value) for key, value in event.items()}


def _protected(key: str, value: object) -> object:
    if isinstance(value, str):
        if key in _CONTENT_KEYS:
            return LEFT_OUT
        if key in _SECRET_KEYS:
            return MASK
        limit = MAX_TRACEBACK_CHARACTERS if key == "exception" else MAX_CHARACTERS
        # Masked before it is cut, so that no half of a secret is left at the end.
        masked = _SECRETS.sub(MASK, value) if any(sign in value for sign in _SIGNS) else value
        return masked if len(masked) <= limit else masked[:limit] + "…"
    if value is None or isinstance(value, bool | int | float) or key.startswith("_"):
        return value
    if key in _CONTENT_KEYS or key in _SECRET_KEYS:
        return LEFT_OUT
    if isinstance(value, Mapping):
        return {str(name): _protected(str(name), item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_protected("", item) for item in value]
    return _protected("", str(value))
