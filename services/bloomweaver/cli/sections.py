"""Help in plain text, with the commands in sections by what they are for.

Plain, because what typer's coloured help imports takes as long as all the rest of the start.
"""

from collections.abc import Mapping
from typing import Any, Final

from typer import core

BEGIN: Final = "Begin"
SEND: Final = "Send and search"
ASK: Final = "Ask why"
KEEP: Final = "Keep it running"

SECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    BEGIN: ("try", "dev", "doctor"),
    SEND: ("push", "wait", "search"),
    ASK: ("status", "why", "retry", "dead-letters", "redrive", "audit"),
    KEEP: ("collections", "keys", "models", "migrate", "completion"),
}


class Sectioned(core.TyperGroup):
    """The group of all commands."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """One list per section."""
        room = formatter.width - 6 - max(len(name) for name in self.list_commands(ctx))
        for title, names in SECTIONS.items():
            with formatter.section(title):
                commands = {name: self.get_command(ctx, name) for name in names}
                formatter.write_dl(
                    [(name, command.get_short_help_str(room)) for name, command in commands.items() if command]
                )
