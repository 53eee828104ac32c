"""Revisions of a resource: a model and its vector space, by a hash that never depends on runtime or scaling."""

import hashlib
from dataclasses import dataclass

from bloomweaver.controller import resources, services
from bloomweaver.domain import errors, models
from bloomweaver.domain.documents import Chunking, Pipeline

SPECIAL_TOKENS = 2


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a model cannot be had. mismatch: it is there, but not as the resource says."""

    mismatch: bool
    message: str


def hash_of(name: str, space: str) -> str:
    """8 hex digits: in the names of Deployments, in `pin` and `promote`."""
    return hashlib.sha256(f"{name}\x00{space}".encode()).hexdigest()[:8]


def of(model: resources.Model, *, since: str = "") -> resources.Revision:
    """The revision that a resource asks for."""
    try:
        provided = _known(model)
    except errors.ConfigurationError:
        provided = None  # `trouble_of` tells
    space = models.space_of(provided) if provided is not None else model.space
    return resources.Revision(hash=hash_of(model.name, space), model=model, space=space, since=since)


def _known(model: resources.Model) -> models.ModelSpec | None:
    """What is known of the model without its files."""
    return models.PROVIDED.get(model.name) if model.service is None else services.spec_of(model, model.service)


def trouble_of(model: resources.Model, *, image_volumes: bool) -> Trouble | None:
    """What is wrong with the model, as far as that can be known without its files."""
    try:
        provided = _known(model)
    except errors.ConfigurationError as error:
        return Trouble(mismatch=False, message=f"spec.model.service: {error.detail}")
    if provided is None:
        if not model.space:
            return Trouble(
                mismatch=False,
                message=f"spec.model.name: {model.name} does not come with BloomWeaver; give spec.model.space",
            )
        if model.source.baked is not None:
            message = f"spec.model.source: the image has no {model.name}; give claim or image"
            return Trouble(mismatch=False, message=message)
    else:
        for field, asked, real in (
            ("space", model.space or models.space_of(provided), models.space_of(provided)),
            ("dimensions", model.dimensions, provided.dimension),
            ("maxTokens", model.max_tokens, provided.max_tokens),
        ):
            if asked != real:
                return Trouble(mismatch=True, message=f"spec.model.{field}: {model.name} has {real}, not {asked}")
    if model.source.image is not None and not image_volumes:
        message = "spec.model.source.image: this cluster has no image volumes (Kubernetes 1.35); use claim"
        return Trouble(mismatch=False, message=message)
    return None


def room_of(model: resources.Model) -> int:
    """Tokens of a document's chunk."""
    provided = _known(model)
    return model.max_tokens - SPECIAL_TOKENS if provided is None else provided.room(models.Kind.DOCUMENT)


def chunking_of(wished: resources.Chunking | None, *, model: resources.Model, before: Pipeline) -> Chunking:
    """How a collection is cut in a new pipeline: as wished, else as before, but never beyond what the model reads."""
    room = room_of(model)
    most = min(wished.max_tokens if wished else before.chunking.max_tokens, room)
    overlap = wished.overlap_tokens if wished else before.chunking.overlap_tokens
    return Chunking(most, min(overlap, most // 2))
