"""The data folder of the laptop profile: ledger, blobs, models, the key of this machine's user, the sealing secret.

One process at a time: a second `dev` or `try` on the same folder is refused with who holds it, instead of racing.
Everything that is secret is readable by its owner alone.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bloomweaver.domain.errors import ConfigurationError
from bloomweaver.domain.reasons import Reason

SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Paths below `root`; `prepare` makes what is missing."""

    root: Path

    @property
    def ledger(self) -> Path:
        """The SQLite file: ledger, queues and vectors."""
        return self.root / "ledger.db"

    @property
    def blobs(self) -> Path:
        """Large texts and builds."""
        return self.root / "blobs"

    @property
    def models(self) -> Path:
        """The user's own models, fetched ones, and what was recorded of them."""
        return self.root / "models"

    @property
    def key(self) -> Path:
        """The API key that the command line uses where none is given."""
        return self.root / "key"

    @property
    def secret(self) -> Path:
        """Seals the secrets of signed sources."""
        return self.root / "secret"

    def secret_as_text(self) -> Path:
        """A file with the sealing secret in hex digits, as processes of their own are given it."""
        file = self.root / "secret.hex"
        if not file.exists():
            write_private(file, self.secret.read_bytes().hex().encode() + b"\n")
        return file

    def prepare(self, *, random: Callable[[int], bytes]) -> bytes:
        """Make the folder; gives the sealing secret."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            ignore = self.root / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
            if not self.secret.exists():
                write_private(self.secret, random(SECRET_BYTES))
            return self.secret.read_bytes()
        except OSError as error:
            raise self._unusable(error) from error

    @contextlib.contextmanager
    def locked(self, *, purpose: str) -> Iterator[None]:
        """Hold the folder; ConfigurationError names the process that has it."""
        try:
            handle = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        with os.fdopen(handle, "r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = lock.read().strip() or "another process"
                detail = f"{self.root} is in use by {holder}. Stop that, or name another folder with --data."
                raise ConfigurationError(Reason.DATABASE_LOCKED, detail) from error
            lock.seek(0)
            lock.truncate()
            lock.write(f"{purpose} (process {os.getpid()})")
            lock.flush()
            yield

    def _unusable(self, error: OSError) -> ConfigurationError:
        detail = f"The data folder {self.root} cannot be used: {error.strerror}. Name another one with --data."
        return ConfigurationError(Reason.INVALID_CONFIGURATION, detail)


def write_private(path: Path, data: bytes) -> None:
    """A new file that only its owner may read; never half written."""
    draft = path.with_name(path.name + ".new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
