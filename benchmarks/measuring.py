"""What the kernel says of processes: their memory and the processor time that they have used."""

import contextlib
import os
import pathlib


def family(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            children = pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii")
            found.extend(int(child) for child in children.split())
    return found


def proportional_megabytes(pid: int) -> float:
    """What a process holds, shared pages counted by share."""
    with contextlib.suppress(OSError):
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return 0.0


def processor_seconds(pid: int) -> float:
    """What a process and those of its children that have ended have used so far."""
    with contextlib.suppress(OSError):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0
