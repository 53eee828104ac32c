"""From a URL to a hosted model: what it is, and an embedder that asks its service.

`https://host/v1?model=…`, `ollama://model?endpoint=…`, `bedrock://model?region=…`. A URL holds no secret: `key_file`
names the file with the key, AWS's credentials come from the platform.
"""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bloomweaver.adapters.embedders import hosted as embedding
from bloomweaver.adapters.embedders import pieces
from bloomweaver.domain import errors, hosted, models, reasons
from bloomweaver.ports import embedders

SCHEMES: Final = ("http", "https", "ollama", "bedrock")
_EVERY: Final = (
    "name", "dimension", "max_tokens", "revision", "query_prefix", "document_prefix", "tokenizer", "calls",
)  # fmt: skip
_OPTIONS: Final[Mapping[hosted.Engine, tuple[str, ...]]] = {
    hosted.Engine.HTTP: (*_EVERY, "model", "key_file", "asks_dimension", "texts"),
    hosted.Engine.OLLAMA: (*_EVERY, "endpoint", "key_file", "texts"),
    hosted.Engine.BEDROCK: (*_EVERY, "region", "endpoint", "credentials_file", "profile", "ca_file"),
}
_TOKENIZER: Final = "tokenizer.json"


@dataclass(frozen=True, slots=True)
class Address:
    """A URL taken apart. base: where the service is, as far as the URL itself says."""

    engine: hosted.Engine
    model: str
    base: str
    options: Mapping[str, str]


def spec_of(url: str, *, name: str | None = None) -> models.ModelSpec:
    """What model a URL means; name: by which collections name it, where the URL does not say."""
    return _spec(_parse(url), name=name)


async def open_embedder(url: str, *, models_dir: Path, name: str | None = None) -> embedders.Embedder:
    """An embedder that asks the service; nothing is asked yet."""
    address = _parse(url)
    spec, tokenizer = _spec(address, name=name), _tokenizer(address, models_dir)
    known = hosted.KNOWN.get((address.engine, address.model))
    opened = contextlib.AsyncExitStack()
    wire, texts = await _wire(address, spec, opened)
    limits = embedding.Limits(
        texts=_number(address, "texts", texts),
        calls=_number(address, "calls", embedding.Limits().calls),
        max_characters=known.max_characters if known else None,
    )
    own_prefixes = bool(known and known.query)
    return embedding.HostedEmbedder(spec, tokenizer, wire, limits=limits, opened=opened, own_prefixes=own_prefixes)


async def _wire(
    address: Address, spec: models.ModelSpec, opened: contextlib.AsyncExitStack
) -> tuple[embedding.Wire, int]:
    """The service, and how many texts it takes at once. Entering its client is the last that can fail."""
    given = address.options
    if address.engine is hosted.Engine.BEDROCK:
        from bloomweaver.adapters.embedders import bedrock
        from bloomweaver.adapters.engines.aws import addresses, clients

        access = addresses.Access(**{part: given[part] for part in addresses.ACCESS if part in given})
        unavailable = reasons.Reason.EMBEDDER_UNAVAILABLE
        opening = clients.open_calls("bedrock-runtime", access, what="Bedrock", unavailable=unavailable)
        calls = await opened.enter_async_context(opening)
        titan = address.model.startswith(bedrock.TITAN)
        return bedrock.BedrockWire(calls, spec), bedrock.TITAN_TEXTS if titan else bedrock.COHERE_TEXTS
    from bloomweaver.adapters.embedders import http, http_calls, ollama

    client = await opened.enter_async_context(http_calls.client())
    key_file = given.get("key_file")
    if address.engine is hosted.Engine.OLLAMA:
        endpoint = given.get("endpoint", ollama.ENDPOINT)
        made = ollama.OllamaWire(client, endpoint, model=address.model, key_file=key_file)
        return made, embedding.Limits().texts
    asks = given.get("asks_dimension") == "true"
    return http.OpenAiWire(
        client, address.base, model=address.model, dimension=spec.dimension, asks_dimension=asks, key_file=key_file
    ), http.TEXTS


def _parse(url: str) -> Address:
    parts = urllib.parse.urlsplit(url)
    engine = hosted.Engine.HTTP if parts.scheme in {"http", "https"} else hosted.Engine(parts.scheme)
    if "@" in parts.netloc:
        raise _wrong(f"{parts.scheme}://…", "a URL never holds credentials; name a file with key_file")
    pairs = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
    given = dict(pairs)
    unknown = sorted(given.keys() - set(_OPTIONS[engine]))
    if unknown:
        raise _wrong(url, f"{unknown[0]!r} is no setting of it; known: {', '.join(_OPTIONS[engine])}")
    if len(given) < len(pairs) or not all(given.values()) or parts.fragment:
        raise _wrong(url, "every setting has one value")
    own = urllib.parse.unquote(parts.netloc + parts.path)
    model = given.get("model", "") if engine is hosted.Engine.HTTP else own
    if not model or not parts.netloc:
        raise _wrong(url, "it names no model: https://HOST/v1?model=NAME, ollama://NAME, bedrock://NAME?region=NAME")
    return Address(engine, model, f"{parts.scheme}://{parts.netloc}{parts.path}", given)


def _spec(address: Address, *, name: str | None) -> models.ModelSpec:
    given = address.options
    return hosted.spec_of(
        hosted.Wish(
            engine=address.engine,
            model=address.model,
            name=given.get("name", name),
            dimension=_number(address, "dimension", 0) or None,
            max_tokens=_number(address, "max_tokens", 0) or None,
            revision=given.get("revision", "1"),
            query_prefix=given.get("query_prefix", ""),
            document_prefix=given.get("document_prefix", ""),
        )
    )


def _tokenizer(address: Address, models_dir: Path) -> embedders.Tokenizer:
    """The model's own, where somebody put its file; else one that counts on the safe side."""
    folder = address.options.get("tokenizer")
    if folder is None:
        return pieces.PieceTokenizer()
    from bloomweaver.adapters.embedders import tokenization

    return tokenization.FileTokenizer(models_dir / folder / _TOKENIZER)


def _number(address: Address, option: str, default: int) -> int:
    given = address.options.get(option)
    if given is None:
        return default
    if not given.isascii() or not given.isdigit() or not 1 <= int(given) <= 1_000_000:
        raise _wrong(f"{option}={given}", "write a number, 1 or more")
    return int(given)


def _wrong(what: str, why: str) -> errors.ConfigurationError:
    return errors.ConfigurationError(reasons.Reason.INVALID_CONFIGURATION, f"{what}: {why}.")
