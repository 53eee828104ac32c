"""What the URLs of vector stores and caches have in common: options behind `?`, and files that hold what no URL may.

Invariant: a URL never holds a credential; it names the file that does.
"""

import pathlib
import ssl
import urllib.parse
from collections.abc import Collection, Mapping
from typing import NamedTuple

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

SOMETHING_ELSE = "Something else listens there: correct the address, or look at the proxy."
"""What to do about a server that answers in another way than the one that is meant."""
SYSTEM = "Give it one that this system trusts, or name its authority in SSL_CERT_FILE."

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Parts(NamedTuple):
    """A URL taken apart. host: without port; path: decoded, with its first slash."""

    host: str
    port: int | None
    path: str
    options: Mapping[str, str]


def parse(url: str, *, known: Collection[str]) -> Parts:
    """The parts of `url`; ConfigurationError for an option that is not known, given twice, or for a credential."""
    split = urllib.parse.urlsplit(url)
    shown = url.partition("?")[0].rpartition("@")[2]
    if split.username is not None or split.password is not None:
        raise refused(f"The address {shown} holds a credential. Put it into a file, and name the file.")
    pairs = urllib.parse.parse_qsl(split.query, keep_blank_values=True)
    options = dict(pairs)
    if len(options) < len(pairs) or not set(options) <= set(known):
        names = ", ".join(sorted(known))
        raise refused(f"The options of {shown!r} are not clear. It takes each of {names} at most once.")
    try:
        port = split.port
    except ValueError as error:
        raise refused(f"{shown!r} has a port that is no number.") from error
    return Parts(split.hostname or "", port, urllib.parse.unquote(split.path), options)


def secret(file: str, *, what: str) -> str:
    """The one line that a file holds."""
    try:
        text = pathlib.Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise refused(f"The file with {what}, {file}, cannot be read ({error.__class__.__name__}).") from error
    if not text:
        raise refused(f"The file with {what}, {file}, is empty.")
    return text


def web(address: str, *, what: str) -> str:
    """An http or https address; http only on this machine, because a credential travels with every request."""
    split = urllib.parse.urlsplit(address if "://" in address else f"https://{address}")
    if split.scheme not in ("http", "https") or not split.hostname or split.username is not None:
        raise refused(f"{address!r} is no address of {what}. Write https://host.")
    if split.scheme == "http" and split.hostname not in _LOOPBACK:
        raise refused(f"{what} at {split.hostname} is asked over http. Use https: a credential travels with it.")
    return split.geturl()


def refuse_untrusted(error: BaseException, *, what: str, remedy: str) -> None:
    """ConfigurationError if what a client's error stands for is a certificate that was not trusted."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        found = waiting.pop()
        # aiohttp has an error of this class that lacks what the class has; it carries a whole one.
        why = getattr(found, "verify_message", None) if isinstance(found, ssl.SSLCertVerificationError) else None
        if why is not None:
            raise refused(f"The certificate of {what} is not trusted: {why.rstrip('.')}. {remedy}") from error
        seen.append(found)
        # Libraries carry what went wrong as the cause, the context, or an argument of their own error.
        carried = (found.__cause__, found.__context__, *found.args)
        waiting += [each for each in carried if isinstance(each, BaseException) and each not in seen]


def refused(detail: str) -> errors.ConfigurationError:
    """The error of an address that cannot be used."""
    return errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail)
