"""The tokenizer of a model directory (`tokenizer.json`), over the `tokenizers` package.

Its own truncation and padding are switched off: nothing may shorten a text but the caller, who then knows.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path

import tokenizers

from bloomweaver.domain import errors, models, reasons
from bloomweaver.ports import embedders

Ids = tuple[int, ...]


class FileTokenizer:
    """Thread-safe: the underlying encoder is immutable after construction."""

    def __init__(self, path: Path) -> None:
        try:
            # The package raises a bare Exception for every unreadable file.
            self._encoder = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:
            raise errors.ConfigurationError(
                reasons.Reason.MODEL_NOT_USABLE, f"cannot read the tokenizer {path}: {error}. Fetch the model again."
            ) from error
        self._encoder.no_truncation()
        self._encoder.no_padding()
        self.vocabulary = self._encoder.get_vocab_size(with_added_tokens=True)

    def encode(self, texts: Sequence[str]) -> list[embedders.Tokens]:
        try:
            encodings = self._encoder.encode_batch(list(texts), add_special_tokens=False)
        except (UnicodeEncodeError, TypeError) as error:
            # The Rust side cannot take a lone surrogate and says only that the input is not a string.
            raise errors.PermanentError(reasons.Reason.UNPARSABLE, "the text holds a lone surrogate") from error
        return [
            embedders.Tokens(
                array("I", encoding.ids),
                array("I", [start for start, _ in encoding.offsets]),
                array("I", [end for _, end in encoding.offsets]),
            )
            for encoding in encodings
        ]

    def ids(self, text: str) -> Ids:
        """The ids alone, without special tokens."""
        return tuple(self._encoder.encode(text, add_special_tokens=False).ids)

    def frame(self) -> tuple[Ids, Ids]:
        """The special tokens that the model wants before and after a text."""
        inner = self._encoder.encode("a", add_special_tokens=False).ids
        framed = self._encoder.encode("a", add_special_tokens=True).ids
        at = next(at for at in range(len(framed)) if framed[at : at + len(inner)] == inner)
        return tuple(framed[:at]), tuple(framed[at + len(inner) :])


def fitted(spec: models.ModelSpec, tokenizer: FileTokenizer) -> tuple[Ids, Ids]:
    """The frame, once it is sure that this tokenizer and this model belong together."""
    before, after = tokenizer.frame()
    found = {
        "vocabulary": tokenizer.vocabulary,
        "special tokens": len(before) + len(after),
        "query prefix tokens": len(tokenizer.ids(spec.query_prefix)),
        "document prefix tokens": len(tokenizer.ids(spec.document_prefix)),
    }
    rows = spec.architecture.vocabulary if spec.architecture else tokenizer.vocabulary
    expected = {
        "vocabulary": min(rows, tokenizer.vocabulary),
        "special tokens": spec.special_tokens,
        "query prefix tokens": spec.query_prefix_tokens,
        "document prefix tokens": spec.document_prefix_tokens,
    }
    for what, number in expected.items():
        if found[what] != number:
            raise errors.ConfigurationError(
                reasons.Reason.MODEL_NOT_USABLE,
                f"the tokenizer does not fit model {spec.name}: {found[what]} {what}, the model has {number}. "
                "Put the tokenizer.json of the same model beside its weights.",
            )
    return before, after
