"""Settings of writer as a process."""

from typing import Literal

import pydantic

from bloomweaver.runtime import settings


class WriterSettings(settings.ProcessSettings):
    """One code base, a Deployment for each operation, or one for all."""

    visibility_seconds: float = settings.visibility_field()
    port: int = settings.port_field(8083)
    operation: Literal["create", "update", "delete", "all"] = pydantic.Field(
        default="all", description="The lane that it works: `create`, `update`, `delete`, or `all` of them."
    )
