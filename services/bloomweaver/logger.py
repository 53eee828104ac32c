"""Where log lines begin: `logger.get("consumer").warning("receive_failed")`. `runtime.logs` says where they end.

The library below imports rich where it is installed, for coloured tracebacks that no line of ours has: a tenth of a
second of every start. So it is imported here, once, with rich out of its sight. Import this module before threads that
may import rich: they would not see it either.
"""

import sys

if "rich" in sys.modules:
    import structlog
else:
    sys.modules["rich"] = None  # type: ignore[assignment]  # the import system's mark of a module that is not installed
    try:
        import structlog
    finally:
        del sys.modules["rich"]

__all__ = ("get", "structlog")

get = structlog.get_logger
