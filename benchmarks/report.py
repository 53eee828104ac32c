"""What a benchmark says: rows of a table, and the machine that they were measured on."""

import dataclasses
import datetime as dt
import importlib.metadata
import os
import pathlib
import platform
import sqlite3

PACKAGES = ("openvino", "onnxruntime", "tokenizers", "numpy", "uvicorn", "uvloop", "httptools")
FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_int8")


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One figure. target: empty where there is none. met: None where there is nothing to compare."""

    measure: str
    value: str
    target: str = ""
    met: bool | None = None
    note: str = ""


def at_least(
    measure: str, value: float, target: float, *, form: str = "{:,.0f}", unit: str = "", note: str = ""
) -> Row:
    """A row that is met from the target upwards."""
    return Row(measure, form.format(value) + unit, f">= {form.format(target)}{unit}", value >= target, note)


def at_most(measure: str, value: float, target: float, *, form: str = "{:,.0f}", unit: str = "", note: str = "") -> Row:
    """A row that is met up to the target."""
    return Row(measure, form.format(value) + unit, f"<= {form.format(target)}{unit}", value <= target, note)


def machine() -> list[tuple[str, str]]:
    """What the figures depend on."""
    cpu = _cpu()
    flags = set(cpu.get("flags", cpu.get("Features", "")).split())
    memory = int(_first("/proc/meminfo").split()[1]) / 2**20
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES if _installed(name)]
    return [
        ("processor", f"{cpu.get('model name', platform.machine())}, {len(os.sched_getaffinity(0))} cores usable"),
        ("features", ", ".join(name for name in FEATURES if name in flags) or "none of those that matter here"),
        ("memory", f"{memory:.0f} GiB"),
        ("system", f"{platform.system()} {platform.release()}, Python {platform.python_version()}"),
        ("SQLite", sqlite3.sqlite_version),
        ("packages", ", ".join(versions)),
    ]


def circumstances() -> str:
    """When, and beside how much else; to be asked for before a benchmark begins."""
    today = dt.datetime.now(dt.UTC).date().isoformat()
    return f"Measured on {today}; load of the machine before: {os.getloadavg()[0]:.1f}."


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = ["| measure | value | target | met | note |", "| --- | --- | --- | --- | --- |"]
    words = {True: "yes", False: "**no**", None: ""}
    lines += [f"| {row.measure} | {row.value} | {row.target} | {words[row.met]} | {row.note} |" for row in rows]
    return "\n".join(lines)


def _cpu() -> dict[str, str]:
    first = pathlib.Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _first(path: str) -> str:
    return pathlib.Path(path).read_text(encoding="ascii").partition("\n")[0]


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
