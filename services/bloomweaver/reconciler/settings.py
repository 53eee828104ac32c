"""Settings of reconciler as a process."""

from bloomweaver.runtime import settings


class ReconcilerSettings(settings.ProcessSettings):
    """Several may run: each step is safe to do twice."""

    port: int = settings.port_field(8084)
