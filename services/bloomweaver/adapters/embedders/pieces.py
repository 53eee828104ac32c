"""Cuts texts into pieces of about a token each, for models whose own tokenizer is not here.

It counts rather too many than too few: a chunk that is cut by it is one that the service takes. Four letters or three
digits of ASCII are a piece, as is every other sign; a letter of another script is one piece, a sign beyond the first
plane (emoji) three. A text that is still too long is refused by the service, never cut.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence

from bloomweaver.domain import errors, reasons
from bloomweaver.ports import embedders

_PIECE = re.compile(r"[A-Za-z]{1,4}|[0-9]{1,3}|[^\sA-Za-z0-9]")
_FIRST_PLANE = 0xFFFF


class PieceTokenizer:
    """The ids only count; nothing reads them as a vocabulary's."""

    def encode(self, texts: Sequence[str]) -> list[embedders.Tokens]:
        return [_encoded(text) for text in texts]


def _encoded(text: str) -> embedders.Tokens:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise errors.PermanentError(reasons.Reason.UNPARSABLE, "the text holds a lone surrogate") from error
    ids, starts, ends = array("I"), array("I"), array("I")
    for match in _PIECE.finditer(text):
        first = ord(match.group()[0])
        if first > _FIRST_PLANE:
            for _ in range(2):
                ids.append(first)
                starts.append(match.start())
                ends.append(match.start())
        ids.append(first)
        starts.append(match.start())
        ends.append(match.end())
    return embedders.Tokens(ids, starts, ends)
