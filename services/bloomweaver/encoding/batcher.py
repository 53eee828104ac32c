"""The one way to vectors for the embedder, search and /v1/embeddings: concurrent callers share batches.

Documents and queries are lanes of their own, so a query never waits behind queued documents. Everything runs on the
event loop and reads no clock but the loop's; the inference itself is the adapter's business.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from array import array
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from bloomweaver.domain import errors, models, reasons
from bloomweaver.encoding import figures, lanes
from bloomweaver.ports import embedders

Limits = lanes.Limits

_TEXTS_PER_TURN: Final = 64
_TURN_CHARACTERS: Final = 32_768
"""Longer texts are cut into tokens in a thread: the loop has others to serve."""
_QUERIED_SECONDS: Final = 10.0
"""So long after a query, batches of documents are kept short for the next one."""


@dataclasses.dataclass(frozen=True, slots=True)
class Encoded:
    """Row i belongs to passage i: its vector, or NaN with the reason in `failures`.

    tokens: of each text as embedded, without special tokens. truncated: queries that were cut to the model's limit.
    """

    vectors: embedders.Vectors
    failures: Mapping[int, errors.WorkError]
    tokens: tuple[int, ...]
    truncated: frozenset[int] = frozenset()


class Batcher:
    """Open it with `async with`; closing fails what still waits with TransientError(SHUTTING_DOWN).

    on_batch: told of every batch that was computed.
    """

    def __init__(
        self,
        embedder: embedders.Embedder,
        *,
        limits: Limits | None = None,
        on_batch: lanes.OnBatch = lambda inference: None,
    ) -> None:
        self.embedder = embedder
        self._queried = float("-inf")
        hurried = {models.Kind.DOCUMENT: self._queried_lately, models.Kind.QUERY: lambda: False}
        self._lanes = {
            kind: lanes.Lane(embedder, kind, limits or Limits(), on_batch=on_batch, hurried=hurried[kind])
            for kind in models.Kind
        }
        self._tasks: dict[models.Kind, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        for kind, lane in self._lanes.items():
            task = asyncio.create_task(lane.run(), name=f"encoding-{kind}")
            task.add_done_callback(functools.partial(_ended, lane))
            self._tasks[kind] = task
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()

    def figures(self) -> dict[models.Kind, figures.Figures]:
        """Live counters of each lane."""
        return {kind: lane.figures for kind, lane in self._lanes.items()}

    async def encode(
        self, passages: Sequence[embedders.Passage], *, kind: models.Kind, owner: str = "", wait: bool = True
    ) -> Encoded:
        """Vectors for tokenised passages; a passage over the model's room is a failure of its own.

        owner: whose work it is (a tenant): owners take turns. wait: False refuses with TransientError(OVERLOADED)
        instead of waiting for room in the queue.
        """
        return await self._run(passages, {}, kind=kind, owner=owner, wait=wait)

    async def encode_texts(
        self, texts: Sequence[str], *, kind: models.Kind, owner: str = "", wait: bool = True
    ) -> Encoded:
        """Tokenises first. A query over the limit is cut and reported; a document over it fails."""
        passages: list[embedders.Passage] = []
        failures: dict[int, errors.WorkError] = {}
        truncated: set[int] = set()
        room = self.embedder.spec.room(kind)
        for start in range(0, len(texts), _TEXTS_PER_TURN):
            if start:
                await asyncio.sleep(0)
            some = texts[start : start + _TEXTS_PER_TURN]
            for index, (text, tokens) in enumerate(zip(some, await self._tokens_of(some), strict=True), start):
                if isinstance(tokens, errors.WorkError):
                    failures[index] = tokens
                    passages.append(embedders.Passage("", array("I")))
                elif kind is models.Kind.QUERY and len(tokens.ids) > room:
                    truncated.add(index)
                    passages.append(embedders.Passage(text[: tokens.ends[room - 1]], tokens.ids[:room]))
                else:
                    passages.append(embedders.Passage(text, tokens.ids))
        encoded = await self._run(passages, failures, kind=kind, owner=owner, wait=wait)
        return dataclasses.replace(encoded, truncated=frozenset(truncated))

    async def _run(
        self,
        passages: Sequence[embedders.Passage],
        failures: Mapping[int, errors.WorkError],
        *,
        kind: models.Kind,
        owner: str,
        wait: bool,
    ) -> Encoded:
        lane = self._lanes[kind]
        if kind is models.Kind.QUERY:
            self._queried = asyncio.get_running_loop().time()
        if kind not in self._tasks or self._tasks[kind].done():
            raise errors.TransientError(reasons.Reason.SHUTTING_DOWN, "the encoder is closed")
        if not wait and lane.full:
            detail = "The encoder has as much at hand as it can take. Try again shortly."
            raise errors.TransientError(
                reasons.Reason.OVERLOADED, detail, retry_after_seconds=lane.figures.backlog_seconds
            )
        failed = {**self._too_long(passages, kind), **failures}
        call = lane.call(len(passages))
        try:
            for index, passage in enumerate(passages):
                if index in failed:
                    call.fail(index, failed[index])
                else:
                    await lane.add(call, index, passage, owner=owner)
            if passages:
                await call.done
        finally:
            # Cancelled here: what is still queued is skipped.
            call.done.cancel()
        return Encoded(call.vectors, call.failures, tuple(len(passage.ids) for passage in passages))

    def _too_long(self, passages: Sequence[embedders.Passage], kind: models.Kind) -> dict[int, errors.WorkError]:
        spec, room = self.embedder.spec, self.embedder.spec.room(kind)
        return {
            index: errors.PermanentError(
                reasons.Reason.TEXT_TOO_LONG, f"{len(passage.ids)} tokens, model {spec.name} takes {room} of a {kind}"
            )
            for index, passage in enumerate(passages)
            if len(passage.ids) > room
        }

    def _queried_lately(self) -> bool:
        return asyncio.get_running_loop().time() - self._queried < _QUERIED_SECONDS

    async def _tokens_of(self, texts: Sequence[str]) -> Sequence[embedders.Tokens | errors.WorkError]:
        if sum(map(len, texts)) < _TURN_CHARACTERS:
            return self._tokens(texts)
        return await asyncio.to_thread(self._tokens, texts)

    def _tokens(self, texts: Sequence[str]) -> Sequence[embedders.Tokens | errors.WorkError]:
        try:
            return self.embedder.tokenizer.encode(texts)
        except errors.PermanentError as error:
            if len(texts) == 1:
                return [error]
            return [self._tokens([text])[0] for text in texts]


def _ended(lane: lanes.Lane, task: asyncio.Task[None]) -> None:
    closing = errors.TransientError(reasons.Reason.SHUTTING_DOWN, "the encoder is closing")
    lane.fail(closing if task.cancelled() else task.exception() or closing)
