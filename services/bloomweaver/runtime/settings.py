"""What the settings of every process have in common: where the stores are, where to listen, how to log, how to end.

A field that several services share stands here once, so that one set of variables serves them all.
"""

import re
from typing import Any, Final, Literal

import pydantic

from bloomweaver.runtime import config

HOSTED: Final = re.compile(r"[a-z0-9][a-z0-9.-]*=(https?|ollama|bedrock)://\S+")


def port_field(default: int) -> Any:
    """`port` with a service's own default, so that all services can run side by side on one machine."""
    return pydantic.Field(default=default, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")


def model_field(description: str) -> Any:
    """`model`, as a service means it."""
    return pydantic.Field(
        default="all-minilm-l6-v2", description=f"{description}: a name, a directory, or a URL such as onnx://NAME."
    )


def rate_field() -> Any:
    """`key_requests_per_second` of a service that answers requests."""
    return pydantic.Field(
        default=None,
        gt=0,
        le=1_000_000,
        description="Requests a second that one API key may send, on average; not set means as many as it likes.",
    )


def burst_field() -> Any:
    """`key_burst` of the same."""
    return pydantic.Field(
        default=100, ge=1, le=1_000_000, description="Requests that one API key may send at once, after a pause."
    )


class StoreSettings(config.ServiceSettings):
    """Where things are kept, and how that is entered."""

    store: str | None = pydantic.Field(
        default=None, description="Where everything is kept, as a URL; not set means the data folder."
    )
    queues: str | None = pydantic.Field(default=None, description="The queues' own URL; not set means the store.")
    blobs: str | None = pydantic.Field(default=None, description="The blobs' own URL; not set means the store.")
    vectors: str | None = pydantic.Field(default=None, description="The vectors' own URL; not set means the store.")
    cache: str | None = pydantic.Field(
        default=None, description="A cache for candidates and embeddings, as a URL: valkey://HOST; not set means none."
    )
    postgresql_password: pydantic.SecretStr | None = pydantic.Field(
        default=None, description="PostgreSQL's password; not set leaves it to PGPASSFILE, PGPASSWORD or a certificate."
    )

    def password(self) -> str | None:
        """PostgreSQL's password, asked for at each new connection."""
        return self.secret_now("postgresql_password")


class ProcessSettings(StoreSettings):
    """Of one process of the service."""

    store: str = pydantic.Field(
        description="Where everything is kept, as a URL: postgresql://HOST/DATABASE, sqlite:////FILE."
    )

    @pydantic.field_validator("store", "queues", "blobs", "vectors")
    @classmethod
    def _shared(cls, value: str | None) -> str | None:
        if value is not None and value.startswith("mem:"):
            raise ValueError("mem:// is private to one process; name a store that several can share")
        return value

    host: str = pydantic.Field(
        default="127.0.0.1", description="Address to listen on; 0.0.0.0 where others probe or call."
    )
    port: int = port_field(8080)
    listener_fd: int | None = pydantic.Field(
        default=None, ge=3, description="An open listening socket to take over instead of host and port, by its number."
    )
    lifeline_fd: int | None = pydantic.Field(
        default=None, ge=3, description="The read end of a pipe, by its number: when it closes, end as at SIGTERM."
    )
    grace_seconds: float = pydantic.Field(
        default=25.0, gt=0, le=3600, description="After SIGTERM: seconds for what is in work; then it is given back."
    )
    log_level: Literal["debug", "info", "warning", "error"] = pydantic.Field(
        default="info", description="Least severe log lines to print."
    )
    log_form: Literal["auto", "console", "json"] = pydantic.Field(
        default="auto", description="`json` for machines, `console` for people; `auto`: people where it is a terminal."
    )


def visibility_field() -> Any:
    """`visibility_seconds` of a service that works hints."""
    return pydantic.Field(
        default=60.0,
        ge=1,
        le=3600,
        description="Seconds until the hints of a worker that was killed go to another; a living one keeps renewing.",
    )


def hosted_models_field() -> Any:
    """`hosted_models` of whoever has to know what models there are."""
    return pydantic.Field(
        default=(),
        description="Models that a service elsewhere runs, each NAME=URL: collections use the name. "
        "docs/reference/models.md has the URLs.",
    )


def named_urls(value: tuple[str, ...]) -> tuple[str, ...]:
    """Refuses what is no NAME=URL, and a name that stands twice."""
    if not all(HOSTED.fullmatch(each) for each in value):
        raise ValueError("each has to be NAME=URL, such as titan=bedrock://amazon.titan-embed-text-v2:0?region=NAME")
    if len(by_name(value)) < len(value):
        raise ValueError("every name may stand once")
    return value


def by_name(value: tuple[str, ...]) -> dict[str, str]:
    """Their URLs."""
    return {name: url for name, _, url in (each.partition("=") for each in value)}


class ModelSettings(ProcessSettings):
    """Of a process that has to do with embedding models; it says itself what `model` is."""

    models: str = pydantic.Field(
        default=".bloomweaver/models", description="Folder of own and fetched models, and of what was recorded of them."
    )
    hosted_models: tuple[str, ...] = hosted_models_field()

    @pydantic.field_validator("hosted_models")
    @classmethod
    def _named(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return named_urls(value)

    def hosted(self) -> dict[str, str]:
        """URLs of hosted models, by name."""
        return by_name(self.hosted_models)


class ThreadSettings(ModelSettings):
    """Of a process that runs models."""

    threads: int | None = pydantic.Field(
        default=None, ge=1, description="Processor threads for embedding; not set means what the machine allows."
    )
