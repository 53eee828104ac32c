"""What the processor computes by itself, where a runtime does not tell."""

from pathlib import Path
from typing import Final

_INTEGER_UNITS: Final = frozenset({"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8", "asimddp", "i8mm"})
_CPUINFO: Final = Path("/proc/cpuinfo")


def multiplies_integers(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether it sums products of 8-bit integers in 32 bits; True where the system does not say.

    Older ones sum pairs of products in 16 bits, which overflow: other results than everywhere else, and slower ones.
    """
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return True
    named = [line.partition(":")[2] for line in lines if line.lower().startswith(("flags", "features"))]
    return not named or bool(_INTEGER_UNITS & set(named[0].split()))
