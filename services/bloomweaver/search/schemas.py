"""Search and embeddings, as requests and answers show them."""

from typing import Annotated, Any, Final, Literal

import pydantic

from bloomweaver.runtime.web import bodies
from bloomweaver.search import embeddings

_IDS: Final = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_SEVERAL: Final = {"type": "array", "minItems": 1, "maxItems": embeddings.MAX_INPUTS}
_INPUT: Final[dict[str, Any]] = {
    "oneOf": [{"type": "string"}, {**_SEVERAL, "items": {"type": "string"}}, _IDS, {**_SEVERAL, "items": _IDS}]
}


class SearchBody(bodies.Body):
    """A question. collections: all that the key may read, unless they are named."""

    query: str = pydantic.Field(min_length=1, max_length=8000)
    collections: list[str] | None = pydantic.Field(default=None, max_length=32)
    limit: int = pydantic.Field(default=10, ge=1, le=100)
    filter: dict[str, object] | None = pydantic.Field(default=None, examples=[{"team": "hr", "year": {"$gte": 2025}}])
    min_score: float | None = pydantic.Field(default=None, ge=-1, le=1)
    group_by_document: bool = pydantic.Field(default=False, description="limit counts documents, best chunk of each.")


class Chunk(pydantic.BaseModel):
    """The chunk that was found. start and end are code points of the extracted text."""

    index: int
    kind: str
    text: str
    start: int
    end: int
    heading: list[str]
    page: int | None


class Hit(pydantic.BaseModel):
    """A hit. score: cosine, 4 decimals, higher is better on every store."""

    collection: str
    document_id: str
    seq: int
    score: float
    title: str | None
    url: str | None
    chunk: Chunk
    metadata: dict[str, str | int | float | bool | list[str]]


class SearchAnswer(pydantic.BaseModel):
    """The best hits. truncated: more may match than could be looked at."""

    hits: list[Hit]
    models: list[str]
    truncated: bool
    took_seconds: float


class EmbeddingsBody(bodies.Body):
    """OpenAI's shape. input_type is ours: some models read queries and documents differently."""

    model: str = pydantic.Field(min_length=1, max_length=200)
    # Read by `embeddings.inputs_of`: a union would point at its own branches instead of at what is wrong.
    input: Annotated[object, pydantic.WithJsonSchema(_INPUT)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = pydantic.Field(
        default=None, ge=1, description="The model's own, or a shorter one that it allows."
    )
    input_type: Literal["document", "query"] = "document"
    user: str | None = pydantic.Field(default=None, description="Read and left alone: OpenAI's clients may send it.")


class Embedding(pydantic.BaseModel):
    """One vector: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(pydantic.BaseModel):
    """Tokens of all inputs, special tokens left out."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(pydantic.BaseModel):
    """OpenAI's shape."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


class Model(pydantic.BaseModel):
    """An embedding model. limit: tokens of a document's text that it reads."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    dimension: int
    limit: int
    state: str


class Models(pydantic.BaseModel):
    """OpenAI's list shape."""

    object: Literal["list"]
    data: list[Model]
