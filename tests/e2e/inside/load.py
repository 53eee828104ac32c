"""Runs in a pod: clients that write and delete without pause, and know what they were promised.

load.py COLLECTION FOLDER    until FOLDER/stop is there. Prints how much was acknowledged, and at the end a summary.
load.py COLLECTION FOLDER --check    compares what the last run was promised with what the service says now.

Every client has documents of its own, and repeats a call under the same key until it is acknowledged, so what has to be
there at the end is certain.
"""

import asyncio
import collections
import json
import os
import pathlib
import random
import sys
import time
import uuid
from typing import Any

import httpx2

CLIENTS, DOCUMENTS, LONGEST_RETRY_SECONDS = 6, 8, 300.0
RELEASE = os.environ["RELEASE"]
HEADERS = {"Authorization": f"Bearer {os.environ['BLOOMWEAVER_API_KEY']}"}
WEBHOOK, SEARCH = f"http://{RELEASE}-webhook:8080", f"http://{RELEASE}-search:8081"


class Load:
    def __init__(self, collection: str, folder: pathlib.Path) -> None:
        self.collection = collection
        self.folder = folder
        self.expected: dict[str, str | None] = {}
        self.acknowledged = 0
        self.refused: collections.Counter[str] = collections.Counter()
        self.slowest = 0.0

    async def run(self) -> None:
        async with httpx2.AsyncClient(headers=HEADERS, timeout=30.0, base_url=WEBHOOK) as http:
            await asyncio.gather(*(self._client(http, number) for number in range(CLIENTS)))
        self.folder.joinpath("expected.json").write_text(json.dumps(self.expected), encoding="utf-8")
        summary = {"acknowledged": self.acknowledged, "refused": self.refused, "slowest": self.slowest}
        print(json.dumps(summary | {"documents": len(self.expected)}))

    async def _client(self, http: httpx2.AsyncClient, number: int) -> None:
        dice, turn = random.Random(number), 0
        while not self.folder.joinpath("stop").exists():
            turn += 1
            document = f"c{number}-{dice.randrange(DOCUMENTS)}"
            path = f"/v1/collections/{self.collection}/documents/{document}"
            if dice.random() < 0.2 and self.expected.get(document) is not None:
                await self._acknowledged(http, "DELETE", path, None)
                self.expected[document] = None
            else:
                text = f"Turn {turn} of {document} is about {uuid.uuid4().hex}."
                await self._acknowledged(http, "PUT", path, {"text": text})
                self.expected[document] = text
            self.acknowledged += 1
            print(self.acknowledged, flush=True)
            await asyncio.sleep(0.05)

    async def _acknowledged(self, http: httpx2.AsyncClient, method: str, path: str, body: Any) -> None:
        key, began = uuid.uuid4().hex, time.monotonic()
        while True:
            try:
                answer = await http.request(method, path, json=body, headers={"Idempotency-Key": key})
                why = str(answer.status_code)
                if answer.is_success:
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    return
                why += " " + answer.text[:200]
            except httpx2.TransportError as error:
                why = repr(error)
            self.refused[why] += 1
            if time.monotonic() - began > LONGEST_RETRY_SECONDS:
                raise SystemExit(f"{method} {path} was never acknowledged: {why}")
            await asyncio.sleep(0.2)


def check(collection: str, folder: pathlib.Path) -> None:
    expected = json.loads(folder.joinpath("expected.json").read_text(encoding="utf-8"))
    wrong = []
    with httpx2.Client(headers=HEADERS, timeout=60.0) as http:
        for document, text in expected.items():
            path = f"{WEBHOOK}/v1/collections/{collection}/documents/{document}"
            state = http.get(path).json().get("state")
            if state != ("deleted" if text is None else "searchable"):
                wrong.append(f"{document}: {state}")
            query = {"query": text or f"{document} is about", "collections": [collection], "limit": 100}
            hits = http.post(f"{SEARCH}/v1/search", json=query).raise_for_status().json()["hits"]
            shown = {hit["chunk"]["text"] for hit in hits if hit["document_id"] == document}
            if shown != ({text} if text else set()):
                wrong.append(f"{document}: search shows {sorted(shown)}, expected {text}")
    print(json.dumps({"documents": len(expected), "wrong": wrong}))


if __name__ == "__main__":
    name, place = sys.argv[1], pathlib.Path(sys.argv[2])
    place.mkdir(parents=True, exist_ok=True)
    if "--check" in sys.argv:
        check(name, place)
    else:
        place.joinpath("stop").unlink(missing_ok=True)
        asyncio.run(Load(name, place).run())
