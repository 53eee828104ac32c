"""Settings of the all-in-one process, for `bloomweaver dev` and `bloomweaver try`."""

from typing import Literal

import pydantic

from bloomweaver.runtime import settings


class DevSettings(settings.StoreSettings):
    """Everything that `bloomweaver dev` can be told; its options win over the variables."""

    host: str = pydantic.Field(default="127.0.0.1", description="Address to listen on.")
    port: int = pydantic.Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    model: str = pydantic.Field(
        default="all-minilm-l6-v2",
        description="Embedding model of new collections: a name, a directory, or a URL such as onnx://NAME.",
    )
    hosted_models: tuple[str, ...] = settings.hosted_models_field()
    embedders: int = pydantic.Field(
        default=1,
        ge=1,
        le=64,
        description="Embedders that `--processes` starts; each has `threads` threads of its own.",
    )
    threads: int | None = pydantic.Field(
        default=None, ge=1, description="Processor threads for embedding; not set means what the machine allows."
    )
    workers: bool = pydantic.Field(
        default=True, description="Whether to embed and write; off only takes changes in, for measurements."
    )
    log_level: str = pydantic.Field(default="warning", description="Least severe log lines to print.")
    log_form: Literal["auto", "console", "json"] = pydantic.Field(
        default="console",
        description="`console` for people, `json` for machines, `auto`: people where it is a terminal.",
    )

    @pydantic.field_validator("hosted_models")
    @classmethod
    def _named(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return settings.named_urls(value)

    def hosted(self) -> dict[str, str]:
        """URLs of hosted models, by name."""
        return settings.by_name(self.hosted_models)
