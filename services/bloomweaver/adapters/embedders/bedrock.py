"""`bedrock://model?region=…`: Amazon Bedrock's InvokeModel, for Titan Text Embeddings V2 and Cohere Embed v3.

Titan takes one text a call, Cohere up to 96, and Cohere has to be told what a text is; both refuse what is too long
instead of cutting it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Final

from bloomweaver.adapters.embedders import hosted, http_calls
from bloomweaver.adapters.engines.aws import clients, failures
from bloomweaver.domain import errors, models
from bloomweaver.domain.reasons import Reason

CALL_SECONDS: Final = 30.0
COHERE_TEXTS: Final = 96
TITAN_TEXTS: Final = 8
TITAN: Final = "amazon.titan-"
REFUSED: Final = "ValidationException"
UNKNOWN: Final = "ResourceNotFoundException"
PASSING: Final = frozenset({
    "ModelErrorException", "ModelNotReadyException", "ModelTimeoutException", "ServiceQuotaExceededException",
})  # fmt: skip


class BedrockWire:
    """One model in one region; `spec.prefix` is the kind's name as the service wants to hear it."""

    def __init__(self, calls: clients.Calls, spec: models.ModelSpec) -> None:
        self._calls = calls
        self._spec = spec
        self._model = spec.source.location

    async def vectors(self, texts: Sequence[str], kind: models.Kind) -> Sequence[Any]:
        if self._model.startswith(TITAN):
            return await asyncio.gather(*(self._titan(text) for text in texts))
        answer = await self._invoke(
            {
                "texts": list(texts),
                "input_type": self._spec.prefix(kind),
                "truncate": "NONE",
                "embedding_types": ["float"],
            }
        )
        found = answer.get("embeddings")
        found = found.get("float") if isinstance(found, dict) else found
        if not isinstance(found, list):
            raise hosted.odd("otherwise than Cohere Embed does")
        return found

    async def _titan(self, text: str) -> Any:
        answer = await self._invoke(
            {"inputText": text, "dimensions": self._spec.dimension, "normalize": self._spec.normalize}
        )
        return answer.get("embedding")

    async def _invoke(self, body: dict[str, Any]) -> dict[str, Any]:
        parameters = {
            "modelId": self._model,
            "contentType": "application/json",
            "accept": "application/json",
            "body": json.dumps(body).encode(),
        }
        try:
            answer = await self._calls.call(
                "invoke_model",
                parameters,
                seconds=CALL_SECONDS,
                attempts=1,
                expected=(REFUSED, UNKNOWN, *PASSING),
                reads="body",
            )
        except failures.Refused as refused:
            raise self._failure(refused) from refused
        try:
            found = json.loads(answer["body"])
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise hosted.odd("what is no JSON object")
        return found

    def _failure(self, refused: failures.Refused) -> errors.BloomWeaverError:
        """What it says of a refused text is not repeated, because it may repeat the text."""
        if refused.code in PASSING:
            return errors.TransientError(Reason.EMBEDDER_UNAVAILABLE, f"{self._model} is not ready ({refused.code}).")
        if refused.code == UNKNOWN:
            detail = f"the region has no {self._model}, or the account no access to it. Ask for it, or correct either."
            return errors.ConfigurationError(Reason.MODEL_NOT_USABLE, detail)
        told = str(refused.response.get("Error", {}).get("Message", "")).lower()
        if http_calls.says_too_long(told):
            return errors.PermanentError(Reason.TEXT_TOO_LONG, f"{self._model} finds the text too long")
        return errors.RetryableError(Reason.EMBEDDING_FAILED, f"{self._model} refuses the request ({refused.code})")
