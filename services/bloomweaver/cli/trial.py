"""What `bloomweaver try` does, step by step: the promise shown on real documents, by HTTP like any other client.

Everything happens to the copies in the store, in a collection of its own; the folder is only read. At the end it is
pushed again, so that the store holds what the folder holds.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import bloomweaver
from bloomweaver.allinone import main
from bloomweaver.cli import client, failures, inprocess, proposals, screen, surroundings, wording
from bloomweaver.cli.commands import searching, standing
from bloomweaver.cli.pushing import planning, pusher

if TYPE_CHECKING:
    from bloomweaver.allinone import settings as dev_settings

COLLECTION: Final = "try"
WAIT: Final = {"wait": "searchable", "timeout": 60}
HITS: Final = 2


@dataclass(slots=True)
class Story:
    """What happened, for `--json`."""

    steps: dict[str, Any] = field(default_factory=dict)


async def run(folder: Path, data: Path, settings: "dev_settings.DevSettings", *, display: screen.Screen) -> None:
    """The whole trial."""
    if not surroundings.is_folder(folder):
        raise failures.usage(
            f"There is no folder '{folder}'.", advice="bloomweaver try DIR, with text or Markdown in it."
        )
    display.show(
        f"BloomWeaver {bloomweaver.__version__}, everything in this one process; data in {data}",
        f"  ledger SQLite · queues SQLite · vectors SQLite · model {settings.model}",
    )
    began = time.monotonic()
    async with main.opened(data, settings, purpose="bloomweaver try") as service:
        target = inprocess.target_of(service, data)
        async with client.open_api(target, transport=inprocess.transport_of(service)) as api:
            await Trial(api, folder, display=display, began=began).run()
    near = "" if data == Path(surroundings.DEFAULT_DATA) else f" --data {data}"
    display.show(
        "",
        "Go on with it:",
        f"  bloomweaver dev{near}                  the same data, served",
        f'  bloomweaver search "…"{near}           in another terminal',
        f"  bloomweaver push {folder} -c {COLLECTION} --watch{near}",
    )


class Trial:
    """The steps, in order."""

    def __init__(self, api: client.Api, folder: Path, *, display: screen.Screen, began: float) -> None:
        self._api = api
        self._folder = folder
        self._display = display
        self._began = began
        self._story = Story()
        self._origin = planning.root_of(folder, origin=None, prefix="").origin

    async def run(self) -> None:
        """Everything, in order."""
        await self._first_hit()
        await self._push("Ingest")
        documents = await self._documents()
        if not documents:
            raise failures.Failure(
                f"There is nothing to search: '{self._folder}' has no text.", advice="Name a folder with text in it."
            )
        questions = await proposals.questions(self._api, COLLECTION, documents)
        hits = await self._search(questions)
        edited = await self._edit(documents)
        await self._delete(questions[0], hits, beside=edited)
        if edited is not None:
            self._head("Why: the timeline of one document")
            self._story.steps["why"] = await standing.print_why(
                self._api, COLLECTION, edited, display=self._display, versions=2
            )
        await self._push("Push the folder again: only what differs is sent")
        self._display.json(self._story.steps)

    def _head(self, title: str) -> None:
        self._display.show("", f"── {title}")

    async def _first_hit(self) -> None:
        """What is there from before can be searched at once."""
        try:
            found = await self._api.get(client.collection_path(COLLECTION))
        except failures.Failure as failure:
            if failure.reason != "collection_not_found":
                raise
            description = "What `bloomweaver try` ingests"
            await self._api.put(client.collection_path(COLLECTION), {"description": description})
            return
        if not found["counts"].get("searchable"):
            return
        answer = await self._api.post("/v1/search", _question(proposals.GENERAL, limit=1))
        if answer["hits"]:
            hit = answer["hits"][0]
            seconds = time.monotonic() - self._began
            self._story.steps["first_hit"] = {"seconds": round(seconds, 3), "documents": found["counts"]["searchable"]}
            name = wording.one_line(f"{COLLECTION}/{hit['document_id']}")
            self._display.show(
                "",
                f"{wording.count(found['counts']['searchable'], 'document')} from before: searchable at once, "
                f"first hit after {seconds:.1f} s ({name})",
            )

    async def _push(self, title: str) -> None:
        self._head(title)
        wish = pusher.Wish(place=pusher.Place(COLLECTION))
        pushing = pusher.Pusher(wish, paths=[self._folder], display=self._display, confirm=lambda question: None)
        await pushing.push(self._api)
        self._story.steps.setdefault("pushes", []).append(pushing.account)

    async def _documents(self) -> list[dict[str, Any]]:
        known = await planning.listed(self._api, COLLECTION, self._origin)
        return [item for item in known.values() if item["state"] == "searchable"]

    async def _search(self, questions: Sequence[str]) -> list[dict[str, Any]]:
        self._head("Search")
        first: list[dict[str, Any]] = []
        told = self._story.steps.setdefault("searches", [])
        for question in questions:
            answer = await self._api.post("/v1/search", _question(question, limit=HITS))
            self._display.show(f'"{wording.one_line(question)}"   {answer["took_seconds"] * 1000:.0f} ms')
            for number, hit in enumerate(answer["hits"], 1):
                self._display.show(*searching.hit_lines(number, hit, query=question))
            self._display.show(*([] if question == questions[-1] else [""]))
            told.append({"query": question, "hits": answer["hits"]})
            first = first or answer["hits"]
        return first

    async def _edit(self, documents: Sequence[dict[str, Any]]) -> str | None:
        """Change one paragraph of the stored copy, and count the chunks that were embedded for it."""
        document = await proposals.to_edit(self._api, COLLECTION, documents)
        if document is None:
            return None
        name = document["document_id"]
        path = client.document_path(COLLECTION, name)
        text = await self._api.text(f"{path}/text")
        before = await self._hashes(path)
        body = {
            "text": proposals.edited(text, at=time.strftime("%Y-%m-%d %H:%M:%S")),
            "media_type": document["media_type"],
            "title": document["title"],
            "origin": self._origin,
        }
        began = time.monotonic()
        result = await self._api.put(path, {key: value for key, value in body.items() if value is not None}, **WAIT)
        seconds = time.monotonic() - began
        after = await self._hashes(path)
        embedded = len([one for one in after if one not in before])
        self._head("Edit one paragraph")
        self._display.show(
            f"{COLLECTION}/{wording.one_line(name)}: {result['outcome']}, {result['state']} after {seconds:.1f} s",
            f"  of {wording.count(len(after), 'chunk')} {embedded} embedded again, {len(after) - embedded} reused",
        )
        self._story.steps["edit"] = {
            "document_id": name,
            "chunks": len(after),
            "embedded": embedded,
            "reused": len(after) - embedded,
            "seconds": round(seconds, 3),
        }
        return str(name)

    async def _hashes(self, path: str) -> list[str]:
        return [chunk["hash"] async for chunk in self._api.pages(f"{path}/chunks")]

    async def _delete(self, question: str, hits: Sequence[dict[str, Any]], *, beside: str | None) -> None:
        """Delete a document that a search shows, and search again right after the answer."""
        victims = [hit["document_id"] for hit in hits if hit["document_id"] != beside] or [
            hit["document_id"] for hit in hits
        ]
        if not victims:
            return
        victim = victims[0]
        began = time.monotonic()
        await self._api.delete(client.document_path(COLLECTION, victim))
        seconds = time.monotonic() - began
        answer = await self._api.post("/v1/search", _question(question, limit=100))
        shown = [hit for hit in answer["hits"] if hit["document_id"] == victim]
        self._head("Delete")
        self._display.show(
            f"{COLLECTION}/{wording.one_line(victim)}: deleted after {seconds * 1000:.0f} ms",
            f'  the search that starts next, "{wording.one_line(question)}", '
            f"{'STILL SHOWS IT' if shown else 'no longer shows it'} "
            f"({wording.count(len(answer['hits']), 'hit')} of other documents)",
        )
        self._story.steps["delete"] = {"document_id": victim, "seconds": round(seconds, 4), "shown_after": len(shown)}
        if shown:
            raise failures.Failure("A deleted document was found.", advice="Please report this.")


def _question(query: str, *, limit: int) -> dict[str, object]:
    return {"query": query, "collections": [COLLECTION], "limit": limit, "group_by_document": limit <= HITS}
