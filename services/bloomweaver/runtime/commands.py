"""The command line of a process: `--help`, `--print-config`, and every setting that is no secret as an option.

Options win over variables. A secret is never an option: the list of processes shows those to everybody.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Final, TextIO, TypeVar

import bloomweaver
from bloomweaver.domain import explanations
from bloomweaver.domain.errors import BloomWeaverError
from bloomweaver.runtime import config, logs

SettingsT = TypeVar("SettingsT", bound=config.ServiceSettings)

_EXITS: Final = "exit codes: 0 ended as asked, 2 wrong usage, 70 a part of it ended by itself, 78 set up wrongly"


def read(
    kind: type[SettingsT],
    *,
    program: str,
    about: str,
    arguments: Sequence[str] | None,
    variables: Mapping[str, str],
    out: TextIO,
) -> SettingsT | None:
    """The settings; None where only something was to be printed. ConfigurationError says all that is wrong."""
    described = config.describe(kind)
    given = vars(_parser(described, name=program, about=about).parse_args(arguments))
    options = {each.name: given[each.name] for each in described if given.get(each.name) is not None}
    settings = config.read(kind, {**variables, **options})
    if given["print_config"] is None:
        return settings
    shown = {variable: logs.masked(value) for variable, value in config.values(settings).items()}
    origins = {variable: _origin(variable, options=options, variables=variables) for variable in shown}
    if given["print_config"] == "json":
        answer = {variable: {"value": shown[variable], "from": origins[variable]} for variable in shown}
        out.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    else:
        widths = max(map(len, shown)), max(map(len, shown.values()))
        rows = (f"{name:<{widths[0]}}  {value:<{widths[1]}}  {origins[name]}" for name, value in shown.items())
        out.write("\n".join([*rows, ""]))
    return None


def tell(error: BloomWeaverError, *, name: str, out: TextIO) -> None:
    """One line: what, why, what next; JSON where no person is in front of it."""
    explained = explanations.of(error.reason)
    why = logs.masked(error.detail)
    if out.isatty():
        out.write(f"{name}: cannot run. {explained.meaning} {why} {explained.next} [{error.reason}]\n")
        return
    line = {"level": "error", "event": "cannot_run", "service": name, "reason": str(error.reason)}
    line |= {"what": explained.meaning, "why": why, "next": explained.next}
    out.write(json.dumps(line, ensure_ascii=False) + "\n")


def _parser(described: Sequence[config.Variable], *, name: str, about: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=name, description=about, epilog=_epilog(described), allow_abbrev=False, formatter_class=_Formatter
    )
    parser.add_argument("--version", action="version", version=f"{name} {bloomweaver.__version__}")
    parser.add_argument(
        "--print-config",
        nargs="?",
        const="table",
        choices=("table", "json"),
        help="print every setting with its value and where that is from, secrets masked, and end",
    )
    for each in described:
        if not each.secret:
            option = "--" + each.name.removeprefix(config.PREFIX).lower().replace("_", "-")
            default = "needed" if each.default is None else each.default
            text = f"{each.description} [{default}]".replace("%", "%%")
            parser.add_argument(option, dest=each.name, metavar="VALUE", help=text)
    return parser


def _epilog(described: Sequence[config.Variable]) -> str:
    secrets = [each for each in described if each.secret]
    lines = ["Every option is also a variable: --log-level is BLOOMWEAVER_LOG_LEVEL. Options win."]
    lines += [f"{each.name} or {each.name}_FILE: {each.description}" for each in secrets]
    return "\n".join([*lines, _EXITS])


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=110)


def _origin(variable: str, *, options: Mapping[str, str], variables: Mapping[str, str]) -> str:
    if variable in options:
        return "option"
    if variables.get(variable):
        return "variable"
    return "file" if variables.get(f"{variable}_FILE") else "default"
