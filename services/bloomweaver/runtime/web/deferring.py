"""Models that are not built before they are used.

The framework describes the whole of OpenAPI in models, and building them is most of its import; only a reader of
/openapi.json ever needs them. What a person waits for imports the web inside of this, and asks for the document later.
"""

import contextlib
from collections.abc import Iterator

import pydantic


@contextlib.contextmanager
def models_at_first_use() -> Iterator[None]:
    """Classes of models that are made inside are built when they are first used."""
    pydantic.BaseModel.model_config["defer_build"] = True
    try:
        yield
    finally:
        del pydantic.BaseModel.model_config["defer_build"]
