"""Secrets at rest by AES-256-GCM: encrypted, authenticated, and bound to their owner.

A sealed secret is a version byte, a random 12-byte nonce and the ciphertext with its tag. Invariant: a changed byte,
the key of another deployment, or another owner opens nothing.
"""

from collections.abc import Callable
from typing import Final

from cryptography import exceptions
from cryptography.hazmat.primitives.ciphers import aead

from bloomweaver.domain import errors
from bloomweaver.domain.reasons import Reason

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
VERSION: Final = b"\x01"


class AesSealer:
    """key: the deployment's secret, 32 bytes. random: a source of bytes fit for keys."""

    def __init__(self, key: bytes, *, random: Callable[[int], bytes]) -> None:
        if len(key) != KEY_BYTES:
            detail = f"The deployment's secret has {len(key)} bytes; it has to have {KEY_BYTES}."
            raise errors.ConfigurationError(Reason.INVALID_CONFIGURATION, detail)
        self._cipher = aead.AESGCM(key)
        self._random = random

    def seal(self, plain: bytes, *, owner: str) -> bytes:
        """Encrypted and authenticated; different each time."""
        nonce = self._random(NONCE_BYTES)
        return VERSION + nonce + self._cipher.encrypt(nonce, plain, owner.encode())

    def unseal(self, sealed: bytes, *, owner: str) -> bytes:
        """The secret; ConfigurationError where the key or the owner is another."""
        nonce, rest = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        try:
            if sealed[:1] != VERSION or len(nonce) != NONCE_BYTES:
                raise exceptions.InvalidTag
            return self._cipher.decrypt(nonce, rest, owner.encode())
        except exceptions.InvalidTag:
            detail = "A stored secret does not open with this deployment's secret: is it the one it was made with?"
            raise errors.ConfigurationError(Reason.CREDENTIALS_REFUSED, detail) from None
