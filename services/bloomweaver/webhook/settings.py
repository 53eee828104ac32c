"""Settings of webhook as a process."""

import binascii

import pydantic

from bloomweaver.runtime import settings

SECRET_BYTES = 32


class WebhookSettings(settings.ModelSettings):
    """It runs no model; it only has to know what the models are that collections may have."""

    model: str = settings.model_field("Embedding model of collections that name none")
    secret: pydantic.SecretStr = pydantic.Field(
        description="The deployment's own key, 64 hex digits: seals the secrets of signed sources. Keep it as long."
    )
    key_requests_per_second: float | None = settings.rate_field()
    key_burst: int = settings.burst_field()
    max_concurrent_requests: int = pydantic.Field(
        default=1000, ge=1, description="Requests below /v1 that are worked on at once; the next is told to come back."
    )

    wake_url: str | None = pydantic.Field(
        default=None,
        pattern=r"^https?://[^/?#@]+(/[^?#]*)?$",
        description="Told by POST that changes came: `/wake` of the controller; not set means that nobody is told.",
    )

    @pydantic.field_validator("secret")
    @classmethod
    def _of_its_length(cls, value: pydantic.SecretStr) -> pydantic.SecretStr:
        try:
            if len(binascii.unhexlify(value.get_secret_value())) == SECRET_BYTES:
                return value
        except (binascii.Error, ValueError):
            pass
        raise ValueError("has to be 64 hex digits, such as `openssl rand -hex 32` prints")

    def sealing_key(self) -> bytes:
        """The key's bytes."""
        return binascii.unhexlify(self.secret.get_secret_value())
