"""Clients of a storm: they send until they are answered, under the same event ids, and search all along."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.storm import model as models

PAUSE_SECONDS = 0.3
REQUEST_SECONDS = 20.0
TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 507})
REMEMBERED = 50
AT_ONCE = 20

Ports = Callable[[str], Sequence[int]]


@dataclass
class Caller:
    """HTTP to whichever process of a service answers. ports: those of a service at this moment."""

    secret: str
    ports: Ports
    client: httpx2.AsyncClient
    answers: Counter[str] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)
    _turn: int = 0

    async def ask(self, service: str, method: str, path: str, **options: Any) -> httpx2.Response:
        """Until it is answered with something that is no passing trouble."""
        headers = {"authorization": f"Bearer {self.secret}", **options.pop("headers", {})}
        while True:
            ports = self.ports(service)
            self._turn += 1
            if ports:
                url = f"http://127.0.0.1:{ports[self._turn % len(ports)]}{path}"
                try:
                    answer = await self.client.request(method, url, headers=headers, **options)
                except (httpx2.TransportError, httpx2.RemoteProtocolError) as error:
                    self.answers[type(error).__name__] += 1
                else:
                    self.answers[f"{service} {answer.status_code}"] += 1
                    if answer.status_code == 500:
                        self.unexpected.append(f"{method} {path}: 500 {answer.text[:300]}")
                    if answer.status_code not in TRANSIENT:
                        return answer
            await asyncio.sleep(PAUSE_SECONDS)


@contextlib.asynccontextmanager
async def caller(secret: str, ports: Ports) -> AsyncIterator[Caller]:
    """Its connections end with the context."""
    limits = httpx2.Limits(max_connections=50, max_keepalive_connections=20)
    async with httpx2.AsyncClient(timeout=REQUEST_SECONDS, limits=limits) as client:
        yield Caller(secret, ports, client)


@dataclass
class Pace:
    """How many events may have been sent by now, so that the storm is as long as it is meant to be."""

    events: int
    seconds: float
    sent: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def over(self) -> bool:
        return self.sent >= self.events

    @property
    def progress(self) -> float:
        return self.sent / self.events

    async def next(self, size: int) -> int:
        """Waits; how many to send now."""
        size = min(size, self.events - self.sent)
        self.sent += size
        while (time.monotonic() - self.began) / self.seconds < (self.sent - size) / self.events:  # noqa: ASYNC110 - by the clock
            await asyncio.sleep(0.05)
        return size


class Client:
    """One client of one collection."""

    def __init__(self, caller: Caller, author: models.Author, pace: Pace, *, batch: int) -> None:
        self._caller, self._author, self._pace, self._batch = caller, author, pace, batch
        self._model = author.model
        self.outcomes: Counter[str] = Counter()

    async def run(self) -> None:
        """Until all is sent."""
        while not self._pace.over:
            events = self._author.batch(self._batch)
            size = await self._pace.next(len(events))
            await self._send(events[:size] if not self._model.ordered else events)
            if self._author.dice.random() < 0.3:
                await self._send_again()
            if not self._model.ordered:
                await self._single()

    async def _send(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            known = self._model.documents[event["document_id"]]
            known.unsure = True
        left = events
        while left:
            results = await self._post(left)
            left = [event for event, result in zip(left, results, strict=True) if not self._took(event, result)]
            if left:
                await asyncio.sleep(PAUSE_SECONDS)
        self._author.sent = (self._author.sent + events)[-REMEMBERED:]
        gone = {event["document_id"] for event in events if not self._model.documents[event["document_id"]].exists}
        for event in events:
            self._model.documents[event["document_id"]].unsure = False
        if gone:
            await search(self._caller, self._model, sorted(gone))

    async def _post(self, events: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
        body = [{key: value for key, value in event.items() if key != "turn"} for event in events]
        for event in body:
            event["collection"] = self._model.collection
        answer = await self._caller.ask("webhook", "POST", "/v1/events", json=body)
        if answer.status_code != 202:
            raise AssertionError(f"events were refused: {answer.status_code} {answer.text[:300]}")
        told = answer.json()
        results: list[Mapping[str, Any]] = told.get("results", [told])
        return results

    def _took(self, event: dict[str, Any], result: Mapping[str, Any]) -> bool:
        """Into the model what was acknowledged; False where it has to be sent again."""
        if "error" in result:
            if result["error"]["status"] not in TRANSIENT:
                raise AssertionError(f"{event['event_id']} was refused: {result['error']}")
            self.outcomes["to be sent again"] += 1
            return False
        self.outcomes[result["outcome"]] += 1
        known = self._model.documents[event["document_id"]]
        if self._model.ordered and event["source_version"] < known.answered:
            return True
        if self._model.ordered:
            known.answered = event["source_version"]
        known.seq = result["seq"]
        deleted = event["change_type"] == "delete"
        known.turn, known.mark = (None, 0) if deleted else (event["turn"], event["turn"])
        return True

    async def _send_again(self) -> None:
        """Duplicates: answered as such, and without effect."""
        events = self._author.again()
        results = await self._post(events) if events else []
        for event, result in zip(events, results, strict=True):
            if "error" not in result and result["outcome"] != "duplicate":
                self._model.violations.append(f"{event['event_id']} again was {result['outcome']}")
            self.outcomes["duplicate"] += 1

    async def _single(self) -> None:
        """A patch and a DELETE, each by its own route."""
        there = [
            name
            for name, known in self._model.documents.items()
            if known.exists and name.startswith(f"{self._author.name}-")
        ]
        if len(there) < 2 or self._pace.over:
            return
        patched, deleted = self._author.dice.sample(there, 2)
        await self._pace.next(2)
        turn = next(self._author.turns)
        known = self._model.documents[patched]
        known.unsure = True
        path = f"/v1/collections/{self._model.collection}/documents"
        key = {"idempotency-key": f"p{turn}"}
        answer = await self._caller.ask(
            "webhook", "PATCH", f"{path}/{patched}", headers=key, json={"metadata": {"mark": turn}}
        )
        if answer.status_code not in (200, 202):
            raise AssertionError(f"a patch was refused: {answer.status_code} {answer.text[:300]}")
        known.mark, known.seq, known.unsure = turn, answer.json()["seq"], False
        self.outcomes["patched"] += 1
        known = self._model.documents[deleted]
        known.unsure = True
        answer = await self._caller.ask(
            "webhook", "DELETE", f"{path}/{deleted}", headers={"idempotency-key": f"d{turn}"}
        )
        if answer.status_code != 200:
            raise AssertionError(f"a delete was refused: {answer.status_code} {answer.text[:300]}")
        known.turn, known.mark, known.seq, known.unsure = None, 0, answer.json()["seq"], False
        self.outcomes["DELETE"] += 1
        await search(self._caller, self._model, [deleted])


async def search(caller: Caller, model: models.Model, documents: Sequence[str], *, end: bool = False) -> None:
    """All chunks of these documents, judged. end: by what has to be shown when all has settled."""
    for start in range(0, len(documents), AT_ONCE):
        part = documents[start : start + AT_ONCE]
        asked = model.ask(part)
        body = {"query": f"t{start}w1", "collections": [model.collection], "limit": 100,
                "filter": {"doc": {"$in": list(part)}}}  # fmt: skip
        answer = await caller.ask("search", "POST", "/v1/search", json=body)
        if answer.status_code != 200:
            raise AssertionError(f"a search was refused: {answer.status_code} {answer.text[:300]}")
        told = answer.json()
        model.judge(asked, told["hits"], whole=not told["truncated"])
        if end:
            model.judge_end(part, told["hits"])


async def watch(caller: Caller, model: models.Model, pace: Pace, dice: Any) -> None:
    """Searches for whatever there is, until all is sent."""
    while not pace.over:
        names = list(model.documents)
        if names:
            await search(caller, model, dice.sample(names, min(8, len(names))))
        await asyncio.sleep(0.2)
