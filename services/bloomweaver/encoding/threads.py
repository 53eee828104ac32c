"""What this process may use: the limits of its control group, not what the node has.

A pool of 64 threads under a limit of 2 cores is stopped for most of every scheduling period. Limits are rounded down,
because a thread too many costs more than a fraction of a core unused.
"""

from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_NO_LIMIT_BYTES = 1 << 60


def available(affinity: int, *, cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """At least 1, at most `affinity` (the cores that the scheduler lets this process run on)."""
    limits = [limit for folder in groups("cpu", cgroups, membership) if (limit := _limit(folder)) is not None]
    return max(1, int(min([float(affinity), *limits])))


def memory_bytes(*, cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int | None:
    """What the control group lets this process have; None where there is no limit."""
    limits = []
    for folder in groups("memory", cgroups, membership):
        for name in ("memory.max", "memory.limit_in_bytes"):
            said = _text(folder / name).strip()
            # Version 1 says "no limit" by a number that no machine has.
            if said.isdigit() and int(said) < _NO_LIMIT_BYTES:
                limits.append(int(said))
    return min(limits, default=None)


def groups(controller: str, cgroups: Path, membership: Path) -> list[Path]:
    """The process's own groups and the roots of the hierarchies (inside a container the two are one)."""
    folders = [cgroups, cgroups / controller]
    for line in _text(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "" or controller in controllers.split(","):
            hierarchy = cgroups if controllers == "" else cgroups / controller
            own = hierarchy / path.lstrip("/")
            folders += [own, *(parent for parent in own.parents if hierarchy in parent.parents)]
    return folders


def _limit(folder: Path) -> float | None:
    """Cores, from the file of version 2 or the two of version 1; None where there is no limit."""
    quota, period = [*_text(folder / "cpu.max").split(), "", ""][:2]
    if not quota:
        quota, period = _text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip()
    if not (quota.isdigit() and period.isdigit()):
        return None  # "max" in version 2, "-1" in version 1
    return int(quota) / int(period)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
