"""Numbers, ages and names as a person reads them, and text of others made safe for a terminal."""

import datetime as dt
import re

SEQ_COUNTER = 1 << 40

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def safe(text: object) -> str:
    """Text of a document or a server without what would move a cursor, change a colour or reverse a line."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text))


def one_line(text: object) -> str:
    """The same on one line."""
    return " ".join(safe(text).split())


def age(seconds: float | None) -> str:
    """A duration: `7 s`, `3 m 12 s`, `2 h 5 m`, `4 d 3 h`."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} m"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 file`, `2,000 files`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(size_bytes: float) -> str:
    """Bytes in a unit that fits."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000 or unit == "GB":
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    raise AssertionError("unreachable")


def version(seq: int) -> str:
    """A seq without its epoch: the `7` of `v7`."""
    return f"v{seq % SEQ_COUNTER}"


def clock(moment: object) -> str:
    """The local time of day of an RFC 3339 moment, with the date unless it is today."""
    try:
        at = dt.datetime.fromisoformat(str(moment)).astimezone()
    except ValueError:
        return safe(moment)
    today = dt.datetime.now(at.tzinfo).date()
    return at.strftime("%H:%M:%S" if at.date() == today else "%Y-%m-%d %H:%M:%S")


def bare(moment: object) -> str:
    """A moment for a table: `2026-11-21 09:00`."""
    return "-" if moment is None else safe(moment)[:16].replace("T", " ")
