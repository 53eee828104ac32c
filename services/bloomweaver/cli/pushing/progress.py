"""How far a push is, on stderr: bars with rate and time left on a terminal, a plain line every 5 s elsewhere.

The bar that counts is `searchable`. What is waited for is always said; nothing is printed with `--json`.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from bloomweaver.cli import screen, wording

if TYPE_CHECKING:
    from rich import progress

PLAIN_SECONDS = 5.0


class Bars(Protocol):
    """What sending and following tell."""

    def planned(self, total: int | None) -> None:
        """How many events will be sent; None while nobody knows."""

    def acknowledged(self, count: int) -> None:
        """So many more are decided and durable."""

    def refused(self, count: int) -> None:
        """So many more will never be searchable."""

    def followed(self, done: int, total: int, why: str) -> None:
        """How many have ended, of how many, and what the others wait for."""

    def pausing(self, why: str, seconds: float) -> None:
        """The server is away or busy; no reason means that it is back."""


class Silent:
    """With `--json`."""

    def planned(self, total: int | None) -> None: ...
    def acknowledged(self, count: int) -> None: ...
    def refused(self, count: int) -> None: ...
    def followed(self, done: int, total: int, why: str) -> None: ...
    def pausing(self, why: str, seconds: float) -> None: ...


class Plain:
    """A line now and then, for logs."""

    def __init__(self, write: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._printed_at = clock()
        self._total: int | None = None
        self._acknowledged = 0
        self._done = 0
        self._pause = ""

    def planned(self, total: int | None) -> None:
        """See Bars."""
        self._total = total

    def acknowledged(self, count: int) -> None:
        """See Bars."""
        self._acknowledged += count
        self._line("")

    def refused(self, count: int) -> None:
        """See Bars."""

    def followed(self, done: int, total: int, why: str) -> None:
        """See Bars."""
        self._done = done
        self._total = max(total, self._total or 0)
        self._line(why)

    def pausing(self, why: str, seconds: float) -> None:
        """See Bars."""
        if why and why != self._pause:
            self._write(f"{why} Trying again.")
        self._pause = why

    def _line(self, why: str) -> None:
        now = self._clock()
        if now - self._printed_at >= PLAIN_SECONDS:
            self._printed_at = now
            total = "" if self._total is None else f" of {self._total:,}"
            reason = f"; {why}" if why else ""
            self._write(f"{self._acknowledged:,} accepted, {self._done:,}{total} searchable{reason}")


class Live:
    """Two bars, and a line that says what is waited for."""

    def __init__(self, shown: "progress.Progress") -> None:
        self._shown = shown
        self._accepted = shown.add_task("accepted", total=None, visible=False, why="")
        self._searchable = shown.add_task("searchable", total=None, why="")
        self._refused = 0

    def planned(self, total: int | None) -> None:
        """See Bars."""
        self._shown.update(self._accepted, total=total, visible=True)
        self._shown.update(self._searchable, total=total)

    def acknowledged(self, count: int) -> None:
        """See Bars."""
        self._shown.advance(self._accepted, count)

    def refused(self, count: int) -> None:
        """See Bars."""
        self._refused += count

    def followed(self, done: int, total: int, why: str) -> None:
        """See Bars."""
        known = next(task.total for task in self._shown.tasks if task.id == self._accepted)
        whole = max(total, int(known or 0) - self._refused)
        self._shown.update(self._searchable, completed=done, total=whole or None, why=wording.one_line(why))

    def pausing(self, why: str, seconds: float) -> None:
        """See Bars."""
        self._shown.update(self._accepted, why=f"{why} Trying again in {seconds:.0f} s." if why else "")


@contextlib.contextmanager
def open_progress(display: screen.Screen) -> Iterator[Bars]:
    """The bars that fit where stderr goes."""
    if display.as_json:
        yield Silent()
    elif not display.interactive:
        yield Plain(display.note)
    else:
        from rich import progress

        columns = (
            progress.TextColumn("{task.description:<11}", markup=False),
            progress.BarColumn(30),
            progress.MofNCompleteColumn(),
            _rate(),
            progress.TimeRemainingColumn(compact=True),
            progress.TextColumn("{task.fields[why]}", markup=False),
        )
        with progress.Progress(*columns, console=display.err, transient=True) as shown:
            yield Live(shown)


def _rate() -> "progress.ProgressColumn":
    from rich import progress, text

    class Rate(progress.ProgressColumn):
        """Documents a second."""

        def render(self, task: progress.Task) -> text.Text:
            """The mean of the last seconds."""
            speed = task.finished_speed or task.speed
            return text.Text("" if not speed else f"{speed:,.1f}/s")

    return Rate()
