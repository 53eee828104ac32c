"""The port of time and chance: nothing in domain or services reads a clock or makes a random number by itself."""

from typing import Protocol


class Clock(Protocol):
    """Two kinds of time. `now` dates things and compares ages on one machine; `monotonic` measures and times out."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        ...


class Nonces(Protocol):
    """Random names."""

    def nonce(self) -> str:
        """A name of 128 random bits, lower-case letters and digits, never given twice."""
        ...

    def secret(self, size_bytes: int) -> bytes:
        """Random bytes fit for keys."""
        ...
