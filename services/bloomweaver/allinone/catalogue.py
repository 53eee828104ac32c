"""What the models of this process are to the rest: a choice of collections, encoders of `/v1/embeddings`, a status."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import structlog

from bloomweaver.allinone import models
from bloomweaver.domain import errors
from bloomweaver.domain.models import Kind, ModelSpec
from bloomweaver.domain.reasons import Reason
from bloomweaver.encoding import batcher
from bloomweaver.search import embeddings
from bloomweaver.webhook import managing, status

Listing: TypeAlias = Callable[[], Sequence[tuple[ModelSpec, str]]]


class Catalogue:
    """listing: all models that a name stands for, and whether each is `ready` to be loaded."""

    def __init__(self, pool: models.ModelPool, *, default: str, listing: Listing) -> None:
        self._pool = pool
        self._default = default
        self._listing = listing

    @property
    def default(self) -> str:
        """The model of collections that name none."""
        return self._default

    async def find(self, name: str) -> managing.OfferedModel:
        """The model, loaded, for a collection that is to have it."""
        try:
            loaded = await self._pool.load(name)
        except errors.ConfigurationError as error:
            # What is wrong with its files is the operator's business, and names their paths.
            structlog.get_logger("models").error("model_not_usable", model=name, detail=error.detail)
            detail = f"The model {name} cannot be used here; the log of the service says why."
            raise errors.Refusal(Reason.MODEL_NOT_FOUND, detail, pointers=(("/model", detail),)) from error
        return managing.OfferedModel(name, loaded.space, loaded.spec.dimension, loaded.spec.room(Kind.DOCUMENT))

    def listed(self) -> Sequence[embeddings.ListedModel]:
        """All that can be asked for, by name."""
        ready = self._pool.loaded()
        found = {
            spec.name: embeddings.ListedModel(spec.name, spec.dimension, spec.room(Kind.DOCUMENT), state)
            for spec, state in self._listing()
        }
        for name, loaded in ready.items():
            room = loaded.spec.room(Kind.DOCUMENT)
            found[name] = embeddings.ListedModel(name, loaded.spec.dimension, room, "ready")
        return [found[name] for name in sorted(found)]

    async def batcher(self, model: str) -> batcher.Batcher:
        """For embeddings on request."""
        try:
            return (await self._pool.load(model)).batcher
        except errors.ConfigurationError as error:
            structlog.get_logger("models").error("model_not_usable", model=model, detail=error.detail)
            raise errors.TransientError(Reason.EMBEDDER_UNAVAILABLE, f"The model {model} cannot be loaded.") from error

    def statuses(self) -> Sequence[status.EmbedderStatus]:
        """The models that are ready, and what waits for them."""
        return [
            status.EmbedderStatus(
                name, loaded.space, sum(f.waiting_passages for f in loaded.batcher.figures().values())
            )
            for name, loaded in self._pool.loaded().items()
        ]
