"""Settings of embedder as a process."""

from bloomweaver.runtime import settings


class EmbedderSettings(settings.ThreadSettings):
    """It works the change queue of one model's space, and no other."""

    model: str = settings.model_field("The embedding model that it runs")
    visibility_seconds: float = settings.visibility_field()
    port: int = settings.port_field(8082)
