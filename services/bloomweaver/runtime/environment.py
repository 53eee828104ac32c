"""The only reader of the process's environment. It imports nothing heavy, so that the command line can use it too.

A service hands what `read` gives to `config.read`, which checks it; tests hand over a dictionary instead.
"""

import os
import types
from collections.abc import Mapping


def read() -> Mapping[str, str]:
    """The process's environment as it is now; later changes do not show."""
    return types.MappingProxyType(dict(os.environ))
