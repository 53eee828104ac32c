"""Names of queues within SQS's alphabet: letters, digits, `-` and `_`, at most 80 characters, and back again.

`sqs://region/prefix` owns the names that begin with `prefix_`. After it stands our name, with `:` as `__` and whatever
else is no letter, digit or `-` as `_` and two hexadecimal digits per byte; dead letters are beside it, with `_dlq` at
the end. Invariant: two of our names never share one of theirs, and a prefix has no `_`, so that one deployment's names
never begin like another's.
"""

import re

from bloomweaver.adapters.engines.aws import addresses

MAX_NAME = 80
DEAD = "_dlq"

_PREFIX = re.compile(r"[A-Za-z0-9-]{1,40}")
_PLAIN = re.compile(r"[A-Za-z0-9-]")
_ESCAPED = re.compile(r"__|(?:_[0-9a-f]{2})+")


def check_prefix(prefix: str) -> str:
    """The prefix itself, or ConfigurationError."""
    if not _PREFIX.fullmatch(prefix):
        raise addresses.refused(prefix, "a prefix of queues is 1 to 40 letters, digits and hyphens")
    return prefix


def name_of(prefix: str, queue: str) -> str:
    """SQS's name of one of our queues."""
    name = f"{prefix}_" + "".join(_escape(char) for char in queue)
    if len(name) + len(DEAD) > MAX_NAME:
        raise addresses.refused(name, f"too long for SQS, which allows {MAX_NAME - len(DEAD)}; use a shorter prefix")
    return name


def queue_of(prefix: str, name: str) -> str | None:
    """Our name, or None where it is not one of ours, or holds dead letters."""
    begin, _, rest = name.partition("_")
    if begin != prefix or not rest or rest.endswith(DEAD):
        return None
    try:
        queue = _ESCAPED.sub(_unescape, rest)
        return queue if name_of(prefix, queue) == name else None
    except UnicodeDecodeError:
        return None


def _escape(char: str) -> str:
    if _PLAIN.match(char):
        return char
    return "__" if char == ":" else "".join(f"_{byte:02x}" for byte in char.encode())


def _unescape(found: re.Match[str]) -> str:
    text = found.group()
    return ":" if text == "__" else bytes.fromhex(text.replace("_", "")).decode()
