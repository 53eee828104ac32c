"""What webhook needs to keep secrets at rest: sealed under the deployment's own key, bound to whom they belong.

The secrets of signed sources have to be read again to verify, so they cannot be hashed as API keys are.
"""

from typing import Protocol


class Sealer(Protocol):
    """Seals bytes; what was sealed for one owner cannot be opened as another's."""

    def seal(self, plain: bytes, *, owner: str) -> bytes:
        """Encrypted and authenticated; different each time."""
        ...

    def unseal(self, sealed: bytes, *, owner: str) -> bytes:
        """ConfigurationError(CREDENTIALS_REFUSED) where the deployment's key or the owner is another."""
        ...
