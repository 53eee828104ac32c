"""`https://host/v1?model=…&dimension=…`: a service that speaks as OpenAI's `POST /v1/embeddings` does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import httpx2

from bloomweaver.adapters.embedders import hosted, http_calls
from bloomweaver.domain import models

TEXTS: Final = 128


class OpenAiWire:
    """asks_dimension: for models that can be asked for shorter vectors; others do not know the field."""

    def __init__(
        self,
        http: httpx2.AsyncClient,
        base_url: str,
        *,
        model: str,
        dimension: int,
        asks_dimension: bool,
        key_file: str | None,
    ) -> None:
        self._http = http
        self._url = f"{base_url.rstrip('/')}/embeddings"
        self._body: dict[str, Any] = {"model": model, "encoding_format": "float"}
        if asks_dimension:
            self._body["dimensions"] = dimension
        self._key_file = key_file

    async def vectors(self, texts: Sequence[str], kind: models.Kind) -> Sequence[Any]:
        body = self._body | {"input": list(texts)}
        answer = await http_calls.post(self._http, self._url, body, http_calls.bearer(self._key_file))
        try:
            data = sorted(answer["data"], key=lambda each: int(each["index"]))
            if [each["index"] for each in data] != list(range(len(texts))):
                raise hosted.odd(f"{len(data)} vectors for {len(texts)} texts, or numbered otherwise")
            return [each["embedding"] for each in data]
        except (KeyError, TypeError, ValueError):
            raise hosted.odd("otherwise than /v1/embeddings does") from None
