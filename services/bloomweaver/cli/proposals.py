"""What `bloomweaver try` asks, edits and deletes: chosen from the documents that it was given, the same every time."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from bloomweaver.cli import client

GENERAL: Final = "How does it work?"
OWN: Final = {
    "concepts/protocol.md": "What happens when a document is deleted while it is being embedded?",
    "howto/signed-sources.md": "How do I verify the signature of a webhook?",
    "decisions/0006-fastapi-and-own-strict-json.md": "Why is JSON with duplicate keys refused?",
}
SEARCHES: Final = 3
MOST_CHUNKS: Final = 400
LOOKED_AT: Final = 12
LEAST_PARAGRAPH: Final = 80
ADDED: Final = "This sentence was added by a trial at"

_PROSE: Final = re.compile(r"[A-Za-z\u00c0-\uffff]")


async def questions(api: "client.Api", collection: str, documents: Sequence[dict[str, Any]]) -> list[str]:
    """Two or three questions that these documents should answer."""
    there = {document["document_id"] for document in documents}
    own = [question for name, question in OWN.items() if name in there]
    if len(own) >= 2:
        return own
    step = max(1, len(documents) // SEARCHES)
    found: list[str] = []
    for document in list(documents)[::step][:SEARCHES]:
        topic = await _topic(api, collection, document)
        if topic and topic not in found:
            found.append(topic)
    return found or [GENERAL]


async def _topic(api: "client.Api", collection: str, document: dict[str, Any]) -> str:
    """The deepest heading of a document, else how its text begins."""
    from bloomweaver.cli import client

    page = await api.get(client.document_path(collection, document["document_id"], "chunks"), limit=50)
    chunks = page["items"]
    if not chunks:
        return str(document.get("title") or "")
    best = max(chunks, key=lambda chunk: (len(chunk["heading"]), -chunk["index"]))
    if best["heading"]:
        return " ".join(best["heading"][-2:])
    words = chunks[0]["text"].split()
    return " ".join(words[:10])


async def to_edit(api: "client.Api", collection: str, documents: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The document with the most chunks among the larger ones that have a paragraph to edit."""
    from bloomweaver.cli import client

    best: tuple[int, dict[str, Any]] | None = None
    for document in sorted(documents, key=lambda item: -item["size_bytes"])[:LOOKED_AT]:
        path = client.document_path(collection, document["document_id"])
        chunks = (await api.get(path))["chunk_count"]
        if chunks <= MOST_CHUNKS and (best is None or chunks > best[0]):
            text = await api.text(f"{path}/text")
            if edited(text) != text:
                best = (chunks, document)
    return best[1] if best else None


def edited(text: str, *, at: str = "any time") -> str:
    """The text with a sentence more in a paragraph of prose near its middle; unchanged if it has none."""
    paragraphs = text.split("\n\n")
    middle = len(paragraphs) // 2
    for index in sorted(range(len(paragraphs)), key=lambda position: abs(position - middle)):
        paragraph = paragraphs[index]
        fenced = "\n\n".join(paragraphs[:index]).count("```") % 2
        if len(paragraph) >= LEAST_PARAGRAPH and _PROSE.match(paragraph) and not fenced and "<" not in paragraph:
            paragraphs[index] = f"{paragraph.rstrip()} {ADDED} {at}."
            return "\n\n".join(paragraphs)
    return text
