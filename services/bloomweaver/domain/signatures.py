"""Signed sources: the Standard Webhooks scheme, verified strictly, before anything of the body is parsed.

`webhook-id`, `webhook-timestamp` and the raw body are signed with HMAC-SHA256 under a `whsec_` secret. Two traps are
closed by grammar: an id has no dot, so no part of an id can be moved into the body under the same signature; and each
header occurs once and is compared as it was sent, never after normalising. Whatever is wrong, the answer is one error
that says the same thing, and nothing else is ever raised for what a client sent.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

PREFIX: Final = "whsec_"
MAX_SIGNATURES: Final = 10
DEFAULT_TOLERANCE_SECONDS: Final = 300

_ID: Final = re.compile(rb"[A-Za-z0-9_-]{1,128}")
_TIMESTAMP: Final = re.compile(rb"[0-9]{10}")
_SIGNATURE: Final = re.compile(rb"v1,([A-Za-z0-9+/]{43}=)")
_OTHER_SCHEME: Final = re.compile(rb"v[0-9a-z]{1,4},[A-Za-z0-9+/=_-]{1,512}")
_HEADERS: Final = frozenset({b"webhook-id", b"webhook-timestamp", b"webhook-signature"})
_MAX_HEADER_BYTES: Final = MAX_SIGNATURES * 520
_KEY_BYTES: Final = range(24, 65)


class SignatureError(errors.Refusal):
    """The request is not signed by this source. Check the secret, the clock and that the raw body is signed."""

    def __init__(self) -> None:
        super().__init__(Reason.INVALID_SIGNATURE, "The request does not carry a valid signature of this source.")


@dataclass(frozen=True, slots=True)
class Secret:
    """A source's signing key. Its text and bytes stay out of logs: `repr` shows neither."""

    key: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The form that is given to the sender once."""
        return PREFIX + base64.b64encode(self.key).decode("ascii")


def new_secret(random_bytes: Callable[[int], bytes]) -> Secret:
    """A new 256-bit secret."""
    return Secret(random_bytes(32))


def parse_secret(text: str) -> Secret:
    """Read `whsec_…`: canonical base64 of 24 to 64 bytes."""
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except ValueError:
        key = b""
    if not text.startswith(PREFIX) or len(key) not in _KEY_BYTES or Secret(key).text != text:
        raise errors.Refusal(Reason.INVALID_REQUEST, "A signing secret is whsec_ and base64 of 24 to 64 bytes.")
    return Secret(key)


def sign(body: bytes, *, secret: Secret, webhook_id: str, timestamp_seconds: int) -> dict[str, str]:
    """The three headers that a sender adds to `body`. A new id per event, the same one when it is sent again."""
    identifier, stamp = webhook_id.encode("ascii"), b"%d" % timestamp_seconds
    digest = _digest(secret, identifier, stamp=stamp, body=body)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": stamp.decode("ascii"),
        "webhook-signature": "v1," + base64.b64encode(digest).decode("ascii"),
    }


def verify(
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes,
    *,
    secrets: Sequence[Secret],
    now_seconds: float,
    tolerance_seconds: float = DEFAULT_TOLERANCE_SECONDS,
) -> str:
    """The webhook id of a request that one of `secrets` signed within the tolerance; SignatureError for all else.

    headers: as they came, names in lower case, duplicates included. secrets: the current one and, in a rotation, the
    one before.
    """
    found = _single_headers(headers)
    identifier, stamp, presented = (
        found.get(name, b"") for name in (b"webhook-id", b"webhook-timestamp", b"webhook-signature")
    )
    if not _ID.fullmatch(identifier) or not _TIMESTAMP.fullmatch(stamp):
        raise SignatureError
    if abs(now_seconds - int(stamp)) > tolerance_seconds:
        raise SignatureError
    digests = _presented_digests(presented)
    # Every pair is compared, so that neither the count nor the place of the right one shows in the time taken.
    valid = False
    for secret in secrets:
        expected = _digest(secret, identifier, stamp=stamp, body=body)
        for digest in digests:
            valid |= hmac.compare_digest(expected, digest)
    if not valid:
        raise SignatureError
    return identifier.decode("ascii")


def _single_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _HEADERS:
            if name in found:
                raise SignatureError
            found[name] = value
    return found


def _presented_digests(header: bytes) -> list[bytes]:
    entries = header.split(b" ") if 0 < len(header) <= _MAX_HEADER_BYTES else []
    if not 1 <= len(entries) <= MAX_SIGNATURES:
        raise SignatureError
    digests = []
    for entry in entries:
        match = _SIGNATURE.fullmatch(entry)
        if match:
            digests.append(_strict_digest(match.group(1)))
        elif entry.startswith(b"v1,") or not _OTHER_SCHEME.fullmatch(entry):
            raise SignatureError
    return digests


def _strict_digest(text: bytes) -> bytes:
    digest = binascii.a2b_base64(text, strict_mode=True)
    # 43 characters carry two bits more than the digest; only the spelling that leaves them zero is the signature.
    if base64.b64encode(digest) != text:
        raise SignatureError
    return digest


def _digest(secret: Secret, identifier: bytes, *, stamp: bytes, body: bytes) -> bytes:
    mac = hmac.new(secret.key, b"%b.%b." % (identifier, stamp), hashlib.sha256)
    mac.update(body)
    return mac.digest()
