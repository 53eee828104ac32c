"""Models that a service elsewhere runs: what they are, as far as it can be known without their files.

Nobody can hash the weights of such a model. Its vector space is named by who serves which model in which revision, not
by the address it is served at: a proxy, another region or another host of the same model change no vector. Whoever
puts other weights behind the same name has to say so by the revision.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from bloomweaver.domain import errors, models, reasons

MAX_TOKENS: Final = 512
"""What a model is taken to read when nothing is said: every hosted one known reads as much."""


class Engine(StrEnum):
    """How a service is spoken to. http: as OpenAI's."""

    HTTP = "http"
    OLLAMA = "ollama"
    BEDROCK = "bedrock"


@dataclass(frozen=True, slots=True)
class Known:
    """What a provider has published of a model. dimensions: those that can be asked for, the usual one first.

    max_characters: of one text, where that is limited as well. query, document: what the service itself puts before
    the texts of a kind, by the name that it wants to hear.
    """

    dimensions: tuple[int, ...]
    max_tokens: int
    max_characters: int | None = None
    query: str = ""
    document: str = ""


# It reads 512 tokens, but no more than 2,048 characters, which is what chunks come up against.
_COHERE: Final = Known((1024,), 400, 2048, query="search_query", document="search_document")

KNOWN: Final[Mapping[tuple[Engine, str], Known]] = MappingProxyType(
    {
        (Engine.BEDROCK, "amazon.titan-embed-text-v2:0"): Known((1024, 512, 256), 8192, 50_000),
        (Engine.BEDROCK, "cohere.embed-english-v3"): _COHERE,
        (Engine.BEDROCK, "cohere.embed-multilingual-v3"): _COHERE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A hosted model as somebody configured it. name: by which collections name it; None makes one of the model's.

    dimension, max_tokens: None takes what is known. query_prefix, document_prefix: put before texts by us.
    """

    engine: Engine
    model: str
    name: str | None = None
    dimension: int | None = None
    max_tokens: int | None = None
    revision: str = "1"
    query_prefix: str = ""
    document_prefix: str = ""


def spec_of(wish: Wish) -> models.ModelSpec:
    """The model; ConfigurationError where something is missing or cannot be."""
    known = KNOWN.get((wish.engine, wish.model))
    if wish.engine is Engine.BEDROCK and known is None:
        names = ", ".join(model for engine, model in KNOWN if engine is Engine.BEDROCK)
        raise _wrong(f"bedrock has no embedding model {wish.model!r} that is known here; known: {names}")
    dimension = wish.dimension or (known.dimensions[0] if known else None)
    if dimension is None:
        raise _wrong(f"{wish.model}: say its dimension, which the service does not tell")
    if known is not None and dimension not in known.dimensions:
        able = ", ".join(map(str, known.dimensions))
        raise _wrong(f"{wish.model} makes vectors of {able} numbers, not {dimension}")
    if known is not None and known.query and (wish.query_prefix or wish.document_prefix):
        raise _wrong(f"{wish.model} tells queries from documents by itself: give it no prefixes")
    query, document = (known.query, known.document) if known and known.query else (None, None)
    identity = f"{wish.engine}\x00{wish.model}\x00{wish.revision}"
    return models.ModelSpec(
        name=wish.name or name_of(wish.model),
        source=models.Source(models.Origin.SERVICE, wish.model, wish.revision),
        dimension=dimension,
        max_tokens=wish.max_tokens or (known.max_tokens if known else MAX_TOKENS),
        pooling=models.Pooling.MEAN,
        query_prefix=wish.query_prefix if query is None else query,
        query_prefix_tokens=tokens_in(wish.query_prefix),
        document_prefix=wish.document_prefix if document is None else document,
        document_prefix_tokens=tokens_in(wish.document_prefix),
        digests=(("service", hashlib.sha256(identity.encode()).hexdigest()),),
    )


def name_of(model: str) -> str:
    """As collections may name it."""
    return re.sub(r"[^a-z0-9.-]+", "-", model.lower()).strip(".-") or "model"


def tokens_in(prefix: str) -> int:
    """On the safe side: a token is seldom shorter than two characters."""
    return -(-len(prefix) // 2)


def _wrong(why: str) -> errors.ConfigurationError:
    return errors.ConfigurationError(reasons.Reason.INVALID_CONFIGURATION, f"{why}.")
