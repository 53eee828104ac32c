"""One push from beginning to end: plan, ask if need be, send, follow, and say what became of everything.

The account (`report`) outlives whatever goes wrong, so that also a push that was stopped says what is safe.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bloomweaver.cli import failures, screen
from bloomweaver.cli.pushing import (
    events,
    following,
    planning,
    progress,
    reading,
    reporting,
    selection,
    sending,
    watching,
)

if TYPE_CHECKING:
    from bloomweaver.cli import client

STDIN = Path("-")
LINES = (".ndjson", ".jsonl")
ASK_ABOVE = 0.10


@dataclass(frozen=True, slots=True)
class Place:
    """Where it goes, and under which names. document_id: of one document from stdin."""

    collection: str = "default"
    create: bool = False
    prefix: str = ""
    origin: str | None = None
    document_id: str | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """Whether what is gone is deleted, and whether somebody is asked."""

    missing: bool = False
    yes: bool = False


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast, and until when. timeout_seconds: None waits for as long as it takes."""

    wait: bool = True
    timeout_seconds: float | None = None
    concurrency: int = 4


@dataclass(frozen=True, slots=True)
class Wish:
    """The options of the command."""

    place: Place = field(default_factory=Place)
    chosen: selection.Selection = field(default_factory=selection.Selection)
    removal: Removal = field(default_factory=Removal)
    pace: Pace = field(default_factory=Pace)
    dry_run: bool = False


class Pusher:
    """Pushes what `paths` name; `account` tells of the last push. confirm: asks a person, None where nobody is."""

    def __init__(
        self, wish: Wish, *, paths: Sequence[Path], display: screen.Screen, confirm: Callable[[str], bool | None]
    ) -> None:
        self._wish = wish
        self._paths = paths
        self._display = display
        self._confirm = confirm
        self._plan = planning.Plan()
        self._report = sending.Report()
        self._batch_id = ""
        self.account: dict[str, object] = {}
        if wish.place.document_id is not None and list(paths) != [STDIN]:
            raise failures.usage("--id is for one document from stdin.", advice="bloomweaver push - --id ID < FILE")
        if len(paths) > 1 and any(self._is_lines(path) for path in paths):
            raise failures.usage("Push a file of events, or stdin, by itself.")
        if wish.removal.missing and any(not path.is_dir() for path in paths):
            raise failures.usage("--delete-missing is for folders.", advice="Push the folder that the files are in.")

    @staticmethod
    def _is_lines(path: Path) -> bool:
        return path == STDIN or (path.suffix in LINES and not path.is_dir())

    def check_watchable(self) -> None:
        """Only files can be watched."""
        if any(self._is_lines(path) for path in self._paths):
            raise failures.usage("--watch is for files and folders.")
        if self._wish.dry_run:
            raise failures.usage("--watch and --dry-run do not go together.")

    async def push(self, api: "client.Api") -> failures.ExitCode:
        """Push once."""
        self._plan, self._report = planning.Plan(), sending.Report()
        self._batch_id = f"push-{secrets.token_hex(6)}"
        ended: following.Ended | None = None
        naming = events.Naming(self._batch_id, self._wish.place.collection, by_source=await self._prepare(api))
        if any(self._is_lines(path) for path in self._paths):
            ended = await self._send(api, self._lines(naming), planned=None)
        else:
            await self._make_plan(api)
            if not self._display.as_json:
                self._display.note(reporting.planned(self._plan), *reporting.skipped(self._plan))
            if self._wish.dry_run:
                self.account = reporting.as_json(self._plan, self._report, None, batch_id=None)
                return failures.ExitCode.OK
            if self._plan.items:
                calls = events.of_items(self._plan.items, naming)
                ended = await self._send(api, calls, planned=len(self._plan.items))
        return await self._tell(api, ended)

    async def watch(self, api: "client.Api") -> failures.ExitCode:
        """Push, then push again whatever changes, until somebody stops it."""
        roots = self._roots()
        while True:
            before = watching.snapshot(roots, self._wish.chosen)
            await self.push(api)
            self._display.json_line(self.account)
            self._display.note("Watching; Ctrl-C ends it.")
            await watching.changed(roots, self._wish.chosen, before)

    def explain_stop(self, failure: failures.Failure) -> None:
        """What is safe although the push did not end as it should."""
        if not self._batch_id or not self._report.acknowledged:
            return
        total = f" of {len(self._plan.items):,}" if self._plan.items else ""
        kept = f"{self._report.acknowledged:,}{total} are accepted and become searchable by themselves"
        more = f"`bloomweaver wait {self._batch_id}` follows them, the same push goes on with the rest"
        if failure.code is failures.ExitCode.INTERRUPTED:
            failure.what, failure.why, failure.advice = f"Stopped: {kept}.", "", f"{more.capitalize()}."
        else:
            failure.advice = f"{failure.advice} {kept.capitalize()}: {more}."

    async def _prepare(self, api: "client.Api") -> bool:
        """Whether the collection orders by the source's versions; it is made first where that was asked for."""
        from bloomweaver.cli import client

        path = client.collection_path(self._wish.place.collection)
        try:
            return bool((await api.get(path))["ordering"] == "source")
        except failures.Failure as failure:
            if failure.reason == "forbidden":
                return False
            if failure.reason != "collection_not_found":
                raise
            if not self._wish.place.create:
                failure.advice = (
                    f"Make it with `bloomweaver collections create {self._wish.place.collection}`, or add --create."
                )
                raise
        return bool((await api.put(path, {}))["ordering"] == "source")

    def _roots(self) -> list[planning.Root]:
        return [
            planning.root_of(path, origin=self._wish.place.origin, prefix=self._wish.place.prefix)
            for path in self._paths
        ]

    async def _make_plan(self, api: "client.Api") -> None:
        ids: list[str] = []
        for root in self._roots():
            try:
                known = await planning.listed(api, self._wish.place.collection, root.origin)
            except failures.Failure as failure:
                if failure.reason != "forbidden" or self._wish.removal.missing:
                    raise
                known = {}
            present = planning.add(self._plan, root, self._wish.chosen, known)
            ids.extend(present)
            if self._wish.removal.missing:
                planning.add_gone(self._plan, root, self._wish.chosen, known)
        planning.refuse_doubles(ids)
        if self._plan.gone and not self._wish.dry_run:
            self._ask_to_delete(found=len(ids))

    def _ask_to_delete(self, *, found: int) -> None:
        gone, listed = self._plan.gone, self._plan.listed
        if not found:
            raise failures.Failure(
                "Nothing is deleted: there is no file at all.",
                why=f"an empty folder would delete all {listed:,} documents that came from it",
                advice="Check the folder and the patterns; to delete it all, delete the collection.",
            )
        if gone <= ASK_ABOVE * listed or self._wish.removal.yes:
            return
        answer = self._confirm(f"Delete {gone:,} of the {listed:,} documents that came from here?")
        if not answer:
            raise failures.Failure(
                "Nothing is sent.",
                why=f"{gone:,} of {listed:,} documents would be deleted, more than {ASK_ABOVE:.0%}",
                advice="Say --yes if that is right." if answer is None else "",
                code=failures.ExitCode.USAGE if answer is None else failures.ExitCode.FAILED,
            )

    async def _lines(self, naming: events.Naming) -> AsyncIterator[events.Call]:
        path = self._paths[0]
        if self._wish.place.document_id is not None:
            data = b"".join([line async for line in events.stdin_lines()])
            call = events.Call()
            try:
                origin = self._wish.place.origin or "stdin"
                call.add(events.of_document(data, naming, document_id=self._wish.place.document_id, origin=origin))
            except reading.Unsuitable as why:
                call.refused.append(events.Refused(self._wish.place.document_id, why.reason.value, why.detail))
            yield call
            return
        if path != STDIN and not path.is_file():
            raise failures.usage(f"There is no file or folder '{path}'.")
        lines = events.stdin_lines() if path == STDIN else events.file_lines(path)
        origin = self._wish.place.origin or ("stdin" if path == STDIN else str(path.resolve())[:512])
        async for call in events.of_lines(lines, naming, origin=origin, name="stdin" if path == STDIN else path.name):
            yield call

    async def _send(
        self, api: "client.Api", calls: AsyncIterator[events.Call], *, planned: int | None
    ) -> following.Ended | None:
        """Send while following. Events of one document keep their order: lines are sent one call after the other."""
        with progress.open_progress(self._display) as bars:
            bars.planned(planned)
            slots = 1 if planned is None else self._wish.pace.concurrency
            sender = sending.Sender(api, report=self._report, bars=bars, concurrency=slots)
            if not self._wish.pace.wait:
                await sender.send(calls)
                return None
            sent = asyncio.Event()
            watched = following.Batches(self._report.batches, collection=self._wish.place.collection, lenient=True)
            follower = asyncio.create_task(
                following.follow(api, watched, bars=bars, timeout_seconds=self._wish.pace.timeout_seconds, sent=sent)
            )
            try:
                await sender.send(calls)
                sent.set()
                return await self._followed(follower)
            finally:
                follower.cancel()

    async def _followed(self, follower: "asyncio.Task[following.Ended]") -> following.Ended | None:
        try:
            return await follower
        except failures.Failure as failure:
            if failure.reason != "forbidden":
                raise
            self._display.note("The key may not read, so nothing is waited for.")
            return None

    async def _tell(self, api: "client.Api", ended: following.Ended | None) -> failures.ExitCode:
        failed = await reporting.failed(api, self._wish.place.collection, ended)
        self.account = reporting.as_json(self._plan, self._report, ended, batch_id=self._batch_id, failed=failed)
        if not self._display.as_json:
            self._display.note(*reporting.refused(self._report), *reporting.failures_of(failed))
            self._display.show(reporting.ended(self._plan, self._report, ended, batch_id=self._batch_id))
        named = any(skipped.named for skipped in self._plan.skipped)
        if self._report.refused or named or (ended is not None and ended.counts["failed"]):
            return failures.ExitCode.FAILED
        return failures.ExitCode.OK if ended is None else ended.code
