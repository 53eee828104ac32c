"""The table of docs/reference/chart.md, made from the comments of the chart's values."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support import charts

SECTION = re.compile(r"(<!-- values -->\n).*?(<!-- end -->)", re.DOTALL)
KEY = re.compile(r"^( *)([A-Za-z]\w*):(?: |$)")
COMMENT = re.compile(r"^ *# -- (.+)$")


@dataclass(frozen=True, slots=True)
class Value:
    """path: `a.b.c`. default: as JSON."""

    path: str
    default: Any
    about: str


def described() -> list[Value]:
    """Every value that has a comment, in the order of the file."""
    lines = (charts.CHART / "values.yaml").read_text(encoding="utf-8").splitlines()
    found, above, about = [], list[tuple[int, str]](), ""
    for line in lines:
        comment, key = COMMENT.match(line), KEY.match(line)
        if comment:
            about = comment[1]
        elif key:
            indent = len(key[1])
            above = [*(each for each in above if each[0] < indent), (indent, key[2])]
            if about:
                path = ".".join(name for _, name in above)
                found.append(Value(path, _at(path), about))
            about = ""
    return found


def undescribed() -> list[str]:
    """Values without a comment, neither at themselves nor at what they are part of."""
    known = {value.path for value in described()}
    return [
        path for path in _leaves(charts.defaults()) if not any((path + ".").startswith(each + ".") for each in known)
    ]


def page(text: str) -> str:
    """The page with its table as it has to be."""
    rows = [f"| `{each.path}` | `{_shown(each.default)}` | {each.about} |" for each in described()]
    table = "\n".join(["", "| value | default | meaning |", "| --- | --- | --- |", *rows, "", ""])
    return SECTION.sub(lambda found: found[1] + table + found[2], text)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text.replace("|", "\\|")


def _at(path: str) -> Any:
    value: Any = charts.defaults()
    for name in path.split("."):
        value = value[name]
    return value


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name
