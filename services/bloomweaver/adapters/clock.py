"""The real clock and real chance. Every composition root makes one of each and hands them on."""

import base64
import secrets
import time

NONCE_CHARACTERS = 26  # of 5 random bits each
NONCES_DRAWN = 64


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class SystemNonces:
    """The operating system's generator, asked for many nonces at once: every request takes some."""

    def __init__(self) -> None:
        self._drawn = ""

    def nonce(self) -> str:
        if not self._drawn:
            drawn = secrets.token_bytes(NONCE_CHARACTERS * NONCES_DRAWN * 5 // 8)
            self._drawn = base64.b32encode(drawn).decode("ascii").lower()
        nonce, self._drawn = self._drawn[:NONCE_CHARACTERS], self._drawn[NONCE_CHARACTERS:]
        return nonce

    def secret(self, size_bytes: int) -> bytes:
        return secrets.token_bytes(size_bytes)
