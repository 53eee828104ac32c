"""The real clock and real chance. Every composition root makes one of each and hands them on."""

import base64
import secrets
import time

NONCE_BYTES = 16
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
        self._drawn = b""

    def nonce(self) -> str:
        if len(self._drawn) < NONCE_BYTES:
            self._drawn = secrets.token_bytes(NONCE_BYTES * NONCES_DRAWN)
        drawn, self._drawn = self._drawn[:NONCE_BYTES], self._drawn[NONCE_BYTES:]
        return base64.b32encode(drawn).decode("ascii").rstrip("=").lower()

    def secret(self, size_bytes: int) -> bytes:
        return secrets.token_bytes(size_bytes)
