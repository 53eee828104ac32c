"""Doubles of embedding services, as their published descriptions have them: OpenAI's shape, Ollama, Bedrock.

A vector is made of the text alone, so equal texts have equal vectors. `answer` and `trouble` have a double
misbehave.
"""

import asyncio
import contextlib
import hashlib
import json
import re
import urllib.parse
from array import array
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2

from bloomweaver.adapters.embedders import hosted, http, ollama, pieces
from bloomweaver.domain import hosted as domain
from bloomweaver.ports import embedders

DIMENSION = 32
MODEL = "small-embedder"


@dataclass
class Double:
    """answer: given instead of what it would say. requests: the bodies that came. headers: of the last one."""

    dimension: int = DIMENSION
    answer: tuple[int, Any, dict[str, str]] | None = None
    trouble: Exception | None = None
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    def vector(self, text: str) -> list[float]:
        return [byte - 127.5 for byte in hashlib.shake_128(text.encode()).digest(self.dimension)]

    async def openai(self, request: httpx2.Request) -> httpx2.Response:
        """POST /v1/embeddings."""
        body = self._read(request)
        if self.answer is not None or request.url.path != "/v1/embeddings":
            return self._told()
        texts = body["input"]
        if not all(texts) or len(texts) > 2048:
            return httpx2.Response(400, json={"error": {"message": "'$.input' is invalid", "code": None}})
        made = [{"object": "embedding", "index": at, "embedding": self.vector(t)} for at, t in enumerate(texts)]
        made.reverse()  # they are numbered, and no order is promised
        return httpx2.Response(200, json={"object": "list", "data": made, "model": body["model"]})

    async def ollama(self, request: httpx2.Request) -> httpx2.Response:
        """POST /api/embed."""
        body = self._read(request)
        if self.answer is not None or request.url.path != "/api/embed":
            return self._told()
        made = [self.vector(text) for text in body["input"]]
        return httpx2.Response(200, json={"model": body["model"], "embeddings": made})

    async def bedrock(self, model: str, body: dict[str, Any]) -> dict[str, Any]:
        """InvokeModel; Cohere's vectors depend on what a text is."""
        self.requests.append(body)
        if model.startswith("amazon."):
            assert set(body) == {"inputText", "dimensions", "normalize"}
            assert body["inputText"]
            return {"embedding": self.vector(body["inputText"]), "inputTextTokenCount": 1}
        assert body["input_type"] in {"search_document", "search_query"}
        assert 0 < len(body["texts"]) <= 96
        found = [self.vector(f"{body['input_type']} {text}") for text in body["texts"]]
        return {"id": "1", "response_type": "embeddings_by_type", "embeddings": {"float": found}}

    def _read(self, request: httpx2.Request) -> dict[str, Any]:
        self.headers = dict(request.headers)
        body: dict[str, Any] = json.loads(request.content)
        self.requests.append(body)
        if self.trouble is not None:
            raise self.trouble
        return body

    def _told(self) -> httpx2.Response:
        code, content, headers = self.answer or (404, {"error": "not found"}, {})
        if isinstance(content, bytes):
            return httpx2.Response(code, content=content, headers=headers)
        return httpx2.Response(code, content=json.dumps(content).encode(), headers=headers)


def client_of(answer: Callable[[httpx2.Request], Any]) -> httpx2.AsyncClient:
    """A client whose network is the double."""
    return httpx2.AsyncClient(transport=httpx2.MockTransport(answer))


def over_http(double: Double, *, key_file: str | None = None, asks_dimension: bool = False) -> hosted.HostedEmbedder:
    """OpenAI's shape."""
    wire = http.OpenAiWire(
        client_of(double.openai),
        "https://service.example/v1",
        model=MODEL,
        dimension=DIMENSION,
        asks_dimension=asks_dimension,
        key_file=key_file,
    )
    return _embedder(wire, domain.Engine.HTTP)


def over_ollama(double: Double) -> hosted.HostedEmbedder:
    """Ollama's."""
    wire = ollama.OllamaWire(client_of(double.ollama), "http://ollama.example", model=MODEL, key_file=None)
    return _embedder(wire, domain.Engine.OLLAMA, query_prefix="search_query: ", document_prefix="search_document: ")


def _embedder(wire: hosted.Wire, engine: domain.Engine, **prefixes: str) -> hosted.HostedEmbedder:
    wish = domain.Wish(engine=engine, model=MODEL, dimension=DIMENSION, max_tokens=256, **prefixes)
    limits = hosted.Limits(texts=16, calls=2)
    opened = contextlib.AsyncExitStack()
    return hosted.HostedEmbedder(domain.spec_of(wish), pieces.PieceTokenizer(), wire, limits=limits, opened=opened)


def passage(text: str) -> embedders.Passage:
    """A passage of one token, whatever it says."""
    return embedders.Passage(text, array("I", [1]))


@contextlib.asynccontextmanager
async def bedrock_server(double: Double) -> AsyncIterator[str]:
    """A server on loopback that speaks as `bedrock-runtime` does; gives its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                path = urllib.parse.unquote(head.split(" ", 2)[1])
                (length,) = re.findall(r"(?i)content-length: *(\d+)", head)
                body = json.loads(await reader.readexactly(int(length)))
                code, answer, told = double.answer or (200, None, {})
                if answer is None:
                    answer = await double.bedrock(path.split("/")[2], body)
                content = json.dumps(answer).encode()
                lines = [f"HTTP/1.1 {code} X", "Content-Type: application/json", f"Content-Length: {len(content)}"]
                lines += [f"{name}: {value}" for name, value in told.items()]
                writer.write("\r\n".join([*lines, "", ""]).encode() + content)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()
