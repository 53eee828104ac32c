"""What a push would change: the files of the roots, compared with what the server has of the same origin.

Unchanged files are free: their hash, computed here as the server computes it, is in the listing, so nothing of them is
sent. What is not searchable is sent again whatever its hash, so that the push can say what became of it.
Invariant: only documents of the same origin count as gone, and only where no file of that name is left.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bloomweaver.cli import failures
from bloomweaver.cli.pushing import reading, selection
from bloomweaver.domain import identity
from bloomweaver.domain.reasons import Reason

if TYPE_CHECKING:
    from bloomweaver.cli import client

MAX_ORIGIN_CHARACTERS = 512


@dataclass(frozen=True, slots=True)
class Root:
    """What was named on the command line. only: the one file that is meant, where it was a file."""

    folder: Path
    origin: str
    only: str | None = None
    prefix: str = ""

    def document_id(self, relative: str) -> str:
        """The id of a file's document."""
        return f"{self.prefix}{relative}"

    def files(self, chosen: selection.Selection) -> Iterable[str]:
        """Relative paths of the files that are meant."""
        return [self.only] if self.only is not None else selection.walk(self.folder, chosen)


@dataclass(frozen=True, slots=True)
class Item:
    """A document to send, read again when its turn comes. path: None for a delete."""

    document_id: str
    origin: str
    path: Path | None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is no document. named: it was given on the command line, so that skipping it is a failure."""

    name: str
    reason: Reason
    detail: str
    named: bool = False


@dataclass(slots=True)
class Plan:
    """What will be done. listed: how many documents the server has of these origins."""

    items: list[Item] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    new: int = 0
    changed: int = 0
    again: int = 0
    unchanged: int = 0
    gone: int = 0
    listed: int = 0

    @property
    def files(self) -> int:
        """Files that are documents."""
        return self.new + self.changed + self.again + self.unchanged


def root_of(path: Path, *, origin: str | None, prefix: str) -> Root:
    """The root that a path on the command line stands for."""
    resolved = path.resolve()
    if not resolved.exists():
        raise failures.usage(f"There is no file or folder '{path}'.")
    folder = resolved if resolved.is_dir() else resolved.parent
    name = origin or str(folder)
    if len(name) > MAX_ORIGIN_CHARACTERS or not name.isprintable():
        raise failures.usage("The folder's path cannot name an origin.", advice="Give it a name with --origin.")
    return Root(folder, name, only=None if resolved.is_dir() else resolved.name, prefix=prefix)


async def listed(api: "client.Api", collection: str, origin: str) -> dict[str, dict[str, Any]]:
    """What the server has of an origin, by id."""
    from bloomweaver.cli import client

    pages = api.pages(client.collection_path(collection, "documents"), origin=origin)
    return {item["document_id"]: item async for item in pages}


def add(plan: Plan, root: Root, chosen: selection.Selection, known: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Put the files of a root into the plan; gives the ids that it has."""
    plan.listed += len(known)
    present = []
    for relative in root.files(chosen):
        document_id = root.document_id(relative)
        path = root.folder / relative
        try:
            if not identity.valid_document_id(document_id):
                raise reading.Unsuitable(Reason.INVALID_DOCUMENT_ID, "its path cannot be an id")
            text = reading.read(path)
        except reading.Unsuitable as why:
            name = relative.encode("utf-8", "backslashreplace").decode()
            plan.skipped.append(Skipped(name, why.reason, why.detail, named=root.only is not None))
            continue
        present.append(document_id)
        if _count(plan, text, known.get(document_id)):
            plan.items.append(Item(document_id, root.origin, path))
    return present


def _count(plan: Plan, text: reading.Text, line: Mapping[str, Any] | None) -> bool:
    """Count a file; tells whether it has to be sent."""
    if line is None:
        plan.new += 1
        return True
    if line.get("content_hash") != text.content_hash or line.get("title") != text.title:
        plan.changed += 1
        return True
    if line.get("state") != "searchable":
        plan.again += 1
        return True
    plan.unchanged += 1
    return False


def add_gone(plan: Plan, root: Root, chosen: selection.Selection, known: Iterable[str]) -> None:
    """Put the documents whose file is gone into the plan. What the patterns leave out is left alone."""
    for document_id in known:
        if not document_id.startswith(root.prefix):
            continue
        relative = document_id[len(root.prefix) :]
        if chosen.wants(relative) and not (root.folder / relative).exists():
            plan.gone += 1
            plan.items.append(Item(document_id, root.origin, None))


def refuse_doubles(ids: Sequence[str]) -> None:
    """Two roots that have a file of the same path would overwrite each other's documents."""
    seen: set[str] = set()
    for document_id in ids:
        if document_id in seen:
            raise failures.usage(
                f"'{document_id}' is in more than one of the folders.",
                advice="Push them one by one, with a --prefix each.",
            )
        seen.add(document_id)
