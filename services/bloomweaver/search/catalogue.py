"""The models of this process as those who ask for embeddings see them."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from bloomweaver import logger
from bloomweaver.domain import errors
from bloomweaver.domain.models import Kind, ModelSpec
from bloomweaver.domain.reasons import Reason
from bloomweaver.encoding import batcher, pool
from bloomweaver.search import embeddings

Listing: TypeAlias = Callable[[], Sequence[tuple[ModelSpec, str]]]


class Catalogue:
    """`embeddings.Encoders`. listing: all models that a name stands for, and whether each is `ready` to be loaded."""

    def __init__(self, models: pool.ModelPool, *, listing: Listing) -> None:
        self._models = models
        self._listing = listing

    def listed(self) -> Sequence[embeddings.ListedModel]:
        """All that can be asked for, by name."""
        found = {
            spec.name: embeddings.ListedModel(spec.name, spec.dimension, spec.room(Kind.DOCUMENT), state)
            for spec, state in self._listing()
        }
        for name, loaded in self._models.loaded().items():
            room = loaded.spec.room(Kind.DOCUMENT)
            found[name] = embeddings.ListedModel(name, loaded.spec.dimension, room, "ready")
        return [found[name] for name in sorted(found)]

    async def batcher(self, model: str) -> batcher.Batcher:
        """For embeddings on request."""
        try:
            return (await self._models.load(model)).batcher
        except errors.ConfigurationError as error:
            logger.get("models").error("model_not_usable", model=model, detail=error.detail)
            raise errors.TransientError(Reason.EMBEDDER_UNAVAILABLE, f"The model {model} cannot be loaded.") from error
