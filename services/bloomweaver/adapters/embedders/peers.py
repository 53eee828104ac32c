"""Other libraries that embed, called as their documentation shows, to compare with. Imported only when one is named."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from bloomweaver.domain import errors, reasons

Embed = Callable[[Sequence[str]], object]


def opened(name: str, directory: Path) -> Embed:
    """A library by name, with the model of a directory."""
    if name not in _OPENED:
        known = ", ".join(_OPENED)
        raise errors.Refusal(reasons.Reason.INVALID_REQUEST, f"no library {name} to compare with; known are {known}")
    return _OPENED[name](directory)


def _sentence_transformers(directory: Path) -> Embed:
    try:
        import sentence_transformers
    except ImportError as error:
        raise _absent("sentence-transformers") from error
    model: Any = sentence_transformers.SentenceTransformer(str(directory), device="cpu")
    return lambda texts: model.encode(list(texts), batch_size=32, normalize_embeddings=True)


def _fastembed(directory: Path) -> Embed:
    try:
        import fastembed
    except ImportError as error:
        raise _absent("fastembed") from error
    model: Any = fastembed.TextEmbedding(
        "sentence-transformers/all-MiniLM-L6-v2", specific_model_path=str(directory), threads=None
    )
    return lambda texts: list(model.embed(list(texts)))


def _absent(name: str) -> errors.Refusal:
    return errors.Refusal(
        reasons.Reason.INVALID_REQUEST, f"{name} is not installed beside bloomweaver: pip install {name}"
    )


_OPENED: Final[Mapping[str, Callable[[Path], Embed]]] = MappingProxyType(
    {"sentence-transformers": _sentence_transformers, "fastembed": _fastembed}
)
