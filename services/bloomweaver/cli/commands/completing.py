"""`bloomweaver completion`: the script that lets a shell complete commands and options."""

from enum import StrEnum
from typing import Annotated

import typer

PROGRAM = "bloomweaver"
VARIABLE = "_BLOOMWEAVER_COMPLETE"


class Shell(StrEnum):
    """Shells that can complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(help="Which shell.", show_default=False)],
) -> None:
    """Print what lets a shell complete commands and options.

    In bash: eval "$(bloomweaver completion bash)".
    """
    from typer import _completion_shared

    typer.echo(_completion_shared.get_completion_script(prog_name=PROGRAM, complete_var=VARIABLE, shell=shell.value))


def begin() -> None:
    """Make ready to answer a shell that asks."""
    from typer import _completion_classes

    _completion_classes.completion_init()
