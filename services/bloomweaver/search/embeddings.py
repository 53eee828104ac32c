"""Vectors for whoever asks in OpenAI's shape: texts, or token ids, of one model, never cut silently.

It shares the batchers of indexing and search, so the vectors are those that stand in the index.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bloomweaver.domain import errors, models
from bloomweaver.domain.reasons import Reason
from bloomweaver.encoding import batcher
from bloomweaver.ports import embedders

MAX_INPUTS = 2048
Inputs = Sequence[str] | Sequence[Sequence[int]]


def inputs_of(value: object) -> Inputs:
    """OpenAI's four forms (a text, texts, a list of ids, lists of ids) as several texts or several lists of ids."""
    if isinstance(value, str):
        return [_text(value, "/input")]
    if not isinstance(value, list) or not value:
        raise _wrong("/input", "a text, an array of texts, or token ids")
    if isinstance(value[0], int):
        return [_ids(value, "/input")]
    if len(value) > MAX_INPUTS:
        raise _wrong("/input", f"at most {MAX_INPUTS} inputs")
    if isinstance(value[0], str):
        return [_text(item, f"/input/{index}") for index, item in enumerate(value)]
    return [_ids(item, f"/input/{index}") for index, item in enumerate(value)]


def _text(value: object, pointer: str) -> str:
    if not isinstance(value, str) or not value.strip() or "\x00" in value:
        raise _wrong(pointer, "text, without NUL characters")
    return value


def _ids(value: object, pointer: str) -> list[int]:
    if not isinstance(value, list) or not value:
        raise _wrong(pointer, "an array of token ids")
    ids = [item for item in value if isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 2**32]
    if len(ids) != len(value):
        raise _wrong(pointer, "token ids are integers from 0")
    return ids


def _wrong(pointer: str, detail: str) -> errors.Refusal:
    return errors.Refusal(Reason.INVALID_REQUEST, f"{pointer[1:]}: {detail}.", pointers=((pointer, detail),))


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model as it is listed. limit: tokens of a document's text. state: `ready` or `available`."""

    name: str
    dimension: int
    limit: int
    state: str


class Encoders(Protocol):
    """The embedding models of this process."""

    def listed(self) -> Sequence[ListedModel]:
        """All that can be asked for, by name."""
        ...

    async def batcher(self, model: str) -> batcher.Batcher:
        """Refusal(MODEL_NOT_FOUND), or TransientError(EMBEDDER_UNAVAILABLE) for one that cannot be loaded here."""
        ...


@dataclass(frozen=True, slots=True)
class Embedded:
    """One row per input. tokens: of all inputs, without special tokens."""

    vectors: embedders.Vectors
    tokens: int


class EmbeddingService:
    """Embeds what a client sends."""

    def __init__(self, encoders: Encoders) -> None:
        self._encoders = encoders

    def listed(self) -> Sequence[ListedModel]:
        """The models that can be asked for."""
        return self._encoders.listed()

    async def embed(
        self, inputs: Inputs, *, model: str, kind: models.Kind, owner: str, dimension: int | None = None
    ) -> Embedded:
        """Every input, or none: the first that cannot be embedded refuses the call."""
        try:
            encoder = await self._encoders.batcher(model)
        except errors.Refusal as refusal:
            raise errors.Refusal(refusal.reason, refusal.detail, pointers=(("/model", refusal.detail),)) from None
        spec = encoder.embedder.spec
        if dimension not in (None, spec.dimension, *spec.shorter):
            others = f"or {', '.join(map(str, sorted(spec.shorter)))}" if spec.shorter else "and no others"
            detail = f"{model} has vectors of {spec.dimension} dimensions {others}"
            raise errors.Refusal(Reason.INVALID_REQUEST, f"{detail}.", pointers=(("/dimensions", detail),))
        try:
            encoded = await self._encode(encoder, inputs, spec, kind=kind, owner=owner)
        except errors.TransientError as full:
            if full.reason is not Reason.OVERLOADED:
                raise
            # For OpenAI's clients this is 429, which they wait for and try again.
            raise errors.TransientError(
                Reason.RATE_LIMITED, full.detail, retry_after_seconds=full.retry_after_seconds
            ) from full
        failed = sorted(encoded.failures.items())
        if failed:
            index, error = failed[0]
            if isinstance(error, errors.TransientError):
                raise error
            raise errors.Refusal(error.reason, error.detail, pointers=((f"/input/{index}", error.detail),))
        if encoded.truncated:
            index = min(encoded.truncated)
            detail = f"longer than the {spec.room(kind)} tokens that {model} reads"
            raise errors.Refusal(
                Reason.TEXT_TOO_LONG, f"An input is {detail}.", pointers=((f"/input/{index}", detail),)
            )
        return Embedded(_shortened(encoded.vectors, dimension or spec.dimension, spec), sum(encoded.tokens))

    async def _encode(
        self, encoder: batcher.Batcher, inputs: Inputs, spec: models.ModelSpec, *, kind: models.Kind, owner: str
    ) -> batcher.Encoded:
        texts = [item for item in inputs if isinstance(item, str)]
        if texts:
            return await encoder.encode_texts(texts, kind=kind, owner=owner, wait=False)
        largest = spec.architecture.vocabulary if spec.architecture else 2**32
        passages = []
        for index, item in enumerate(inputs):
            ids = [number for number in item if isinstance(number, int)]
            if any(number >= largest for number in ids):
                detail = f"a token id is below {largest}"
                raise errors.Refusal(Reason.INVALID_REQUEST, f"{detail}.", pointers=((f"/input/{index}", detail),))
            passages.append(embedders.Passage("", array("I", ids)))
        return await encoder.encode(passages, kind=kind, owner=owner, wait=False)


def _shortened(vectors: embedders.Vectors, dimension: int, spec: models.ModelSpec) -> embedders.Vectors:
    """The first so many numbers, of unit norm again."""
    if dimension == spec.dimension:
        return vectors
    cut = vectors[:, :dimension]
    if not spec.normalize:
        return cut
    norms = np.linalg.norm(cut, axis=1, keepdims=True)
    return np.asarray(cut / np.where(norms > 0, norms, 1), np.float32)
