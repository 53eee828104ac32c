"""The servers that there are. Modules are imported when they are asked for: each may need a library of its own."""

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, cast

from tests.support.servers import processes

MODULES = ("postgresql", "dynamodb", "elasticmq", "versitygw", "opensearch", "chroma", "valkey")


class Module(Protocol):
    """What each of the modules has; see the package's docstring."""

    NAME: str
    prepare: Callable[[], str]
    running: Callable[..., AbstractContextManager[processes.Server]]


def module(name: str) -> Module:
    """The server's module."""
    found: Any = importlib.import_module(f"tests.support.servers.{name}")
    return cast("Module", found)
