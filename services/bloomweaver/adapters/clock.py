"""The real clock and real chance. Every composition root makes one of each and hands them on."""

import base64
import secrets
import time


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class SystemNonces:
    """The operating system's generator."""

    def nonce(self) -> str:
        return base64.b32encode(secrets.token_bytes(16)).decode("ascii").rstrip("=").lower()

    def secret(self, size_bytes: int) -> bytes:
        return secrets.token_bytes(size_bytes)
