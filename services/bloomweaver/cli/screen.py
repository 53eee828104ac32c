"""Where a command's words go: results to stdout, everything else to stderr.

With `--json` stdout carries exactly one JSON document (or one per line for streams) and nothing else. Colours only on a
terminal, never with NO_COLOR. Nothing that a document or a server says is read as markup.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

from bloomweaver.cli import failures, wording

if TYPE_CHECKING:
    from rich import console, text

PIPE_COLUMNS = 120


class Screen:
    """One command's output."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self._consoles: dict[int, console.Console] = {}

    @property
    def interactive(self) -> bool:
        """Whether a person watches stderr."""
        return self.err.is_terminal and not self.as_json

    @property
    def out(self) -> "console.Console":
        """The console of results."""
        return self._console(sys.stdout)

    @property
    def err(self) -> "console.Console":
        """The console of everything else."""
        return self._console(sys.stderr)

    def show(self, *lines: "str | text.Text") -> None:
        """Lines of a result for a person; nothing with `--json`."""
        if not self.as_json:
            for line in lines:
                self.out.print(line, soft_wrap=not self.out.is_terminal)

    def note(self, *lines: "str | text.Text") -> None:
        """Lines beside the result."""
        for line in lines:
            self.err.print(line, soft_wrap=not self.err.is_terminal)

    def labelled(self, label: str, line: str) -> None:
        """A line of somebody else, beside the result."""
        self.err.print(f"{label:<14} | {line}", markup=False, highlight=False, soft_wrap=True)

    def json(self, value: object) -> None:
        """The result with `--json`; nothing without."""
        if self.as_json:
            print_json(value, indent=2)

    def json_line(self, value: object) -> None:
        """One of several results with `--json`."""
        if self.as_json:
            print_json(value, indent=None)

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[str] = ()) -> None:
        """A plain table; `numbers` names the columns that are aligned right."""
        from rich import table, text

        made = table.Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
        for head in heads:
            made.add_column(head, justify="right" if head in numbers else "left", overflow="fold")
        for row in rows:
            made.add_row(*(text.Text(wording.one_line(cell)) for cell in row))
        self.out.print(made)

    def _console(self, stream: TextIO) -> "console.Console":
        from rich import console

        known = self._consoles.get(id(stream))
        if known is None:
            known = console.Console(file=stream, markup=False, highlight=False, emoji=False)
            if not known.is_terminal:
                known.width = max(known.width, PIPE_COLUMNS)
            self._consoles[id(stream)] = known
        return known


def print_json(value: object, *, indent: int | None) -> None:
    """JSON on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=indent) + "\n")
    sys.stdout.flush()


def print_failure(failure: failures.Failure, *, as_json: bool) -> None:
    """The three parts of an error on stderr; with `--json` on stdout as well."""
    if as_json:
        print_json(failure.as_json(), indent=2)
    sys.stderr.write("\n".join(wording.safe(line) for line in failure.lines()) + "\n")
