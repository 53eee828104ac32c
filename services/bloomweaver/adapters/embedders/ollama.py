"""`ollama://model?dimension=…`: Ollama's `POST /api/embed`.

It would cut what is too long without a word, so it is told not to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import httpx2

from bloomweaver.adapters.embedders import hosted, http_calls
from bloomweaver.domain import models

ENDPOINT: Final = "http://127.0.0.1:11434"


class OllamaWire:
    """One model on one server."""

    def __init__(self, http: httpx2.AsyncClient, endpoint: str, *, model: str, key_file: str | None) -> None:
        self._http = http
        self._url = f"{endpoint.rstrip('/')}/api/embed"
        self._model = model
        self._key_file = key_file

    async def vectors(self, texts: Sequence[str], kind: models.Kind) -> Sequence[Any]:
        body = {"model": self._model, "input": list(texts), "truncate": False}
        answer = await http_calls.post(self._http, self._url, body, http_calls.bearer(self._key_file))
        found = answer.get("embeddings") if isinstance(answer, dict) else None
        if not isinstance(found, list):
            raise hosted.odd("otherwise than /api/embed does")
        return found
