"""Which models a collection may have, in a process that need not be able to run any of them."""

from collections.abc import Awaitable, Callable

from bloomweaver import logger
from bloomweaver.domain import errors
from bloomweaver.domain.models import Kind, ModelSpec, Origin
from bloomweaver.domain.reasons import Reason
from bloomweaver.webhook import managing

Resolve = Callable[[str], Awaitable[tuple[ModelSpec, str]]]


class Offering:
    """`managing.Models`. resolve: the spec and the space of a name; Refusal or ConfigurationError say why not.

    names_only: paths and hubs are the operator's alone, because a tenant could make this machine read or fetch what it
    names.
    """

    def __init__(self, resolve: Resolve, *, default: str, names_only: bool) -> None:
        self._resolve = resolve
        self._default = default
        self._names_only = names_only

    @property
    def default(self) -> str:
        """The model of collections that name none."""
        return self._default

    async def find(self, name: str) -> managing.OfferedModel:
        """The model, for a collection that is to have it."""
        if self._names_only and name != self._default and ("/" in name or name.startswith(".")):
            detail = f"The model {name} is no name of a model. GET /v1/models lists those that there are."
            raise errors.Refusal(Reason.MODEL_NOT_FOUND, detail, pointers=(("/model", detail),))
        try:
            spec, space = await self._resolve(name)
        except errors.ConfigurationError as error:
            # What is wrong with its files is the operator's business, and names their paths.
            logger.get("models").error("model_not_usable", model=name, detail=error.detail)
            detail = f"The model {name} cannot be used here; the log of the service says why."
            raise errors.Refusal(Reason.MODEL_NOT_FOUND, detail, pointers=(("/model", detail),)) from error
        priced_as = spec.source.location if spec.source.origin is Origin.SERVICE else ""
        return managing.OfferedModel(name, space, spec.dimension, spec.room(Kind.DOCUMENT), priced_as)
