"""Reads plain parameters by hand: typer would import pydantic for it, a third of the time that `search` takes.

Only texts, numbers, paths, flags and lists of texts are taken over; everything else stays typer's. A test holds that
`search` imports no pydantic, so a release of typer that does this differently is noticed.
"""

import pathlib
from typing import Any, Final

import typer
from typer import _coercion, core

KINDS: Final[dict[object, Any]] = {str: str, int: int, float: float, bool: bool, pathlib.Path: pathlib.Path}
NAMES: Final = {int: "a whole number", float: "a number"}


class Plain(_coercion.RuntimeParam):
    """A value of one plain kind, or a list of texts."""

    def _coerce_value(self, value: Any, param: Any, ctx: Any) -> Any:
        if self.annotation == list[str]:
            return [str(item) for item in value]
        kind = KINDS[self.annotation]
        try:
            read = kind(value)
        except ValueError as error:
            message = f"'{value}' is not {NAMES.get(kind, 'readable')}."
            raise typer.BadParameter(message, ctx=ctx, param=param) from error
        least, most = self.parameter_info.min, self.parameter_info.max
        if (least is not None and not read >= least) or (most is not None and not read <= most):
            bounds = f"at least {least}" if most is None else f"from {least} to {most}"
            raise typer.BadParameter(f"{value} is not {bounds}.", ctx=ctx, param=param)
        return read


def install() -> None:
    """Let typer ask here first."""
    vars(core)["build_runtime_param"] = build


def build(descriptor: _coercion.TypeDescriptor) -> _coercion.RuntimeParam:
    """What reads the values of a parameter."""
    annotation = descriptor.annotation
    if annotation == list[str] or (isinstance(annotation, type) and annotation in KINDS):
        return Plain(parameter_info=descriptor.parameter_info, annotation=annotation)
    return _coercion.build_runtime_param(descriptor)
