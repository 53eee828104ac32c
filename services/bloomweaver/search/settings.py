"""Settings of search as a process."""

import pydantic

from bloomweaver.runtime import settings


class SearchSettings(settings.ThreadSettings):
    """It embeds queries itself."""

    model: str = settings.model_field("Embedding model loaded at the start, beside those that collections are kept in")
    port: int = settings.port_field(8081)
    key_requests_per_second: float | None = settings.rate_field()
    key_burst: int = settings.burst_field()
    max_concurrent_requests: int = pydantic.Field(
        default=1000, ge=1, description="Requests below /v1 that are worked on at once; the next is told to come back."
    )
