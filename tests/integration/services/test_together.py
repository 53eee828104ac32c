"""All services as processes over one store: work, kill -9 of each, and what is left is what was sent.

The long storm is `make storm`; this is its shape, in a minute.
"""

import asyncio
import itertools
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from tests.support import keys, running, telemetry

DOCUMENTS = 200
UPDATED = range(80)
DELETED = range(60, 110)
BATCH = 20
WORKERS = (
    ("embedder", ()),
    ("writer", ("--operation=create",)),
    ("writer", ("--operation=update",)),
    ("writer", ("--operation=delete",)),
    ("search", ()),
    ("reconciler", ()),
)
# Never to be found in a log: part of every text, the sealing secret, the key.
SIGN = "marzipan"


@dataclass
class Together:
    """The processes by name, a client, and what the store has to hold in the end."""

    services: running.Services
    secret: str
    spans: telemetry.Receiver
    processes: dict[str, running.Service] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def start(self, name: str, *arguments: str) -> None:
        label = " ".join([name, *arguments])
        self.processes[label] = self.services.start(name, *arguments)

    def kill_and_start_again(self, label: str) -> None:
        killed = self.processes[label]
        killed.process.kill()
        killed.process.communicate()
        self.services.running.remove(killed)
        self.start(*label.split(" "))

    def call(self, service: str, method: str, path: str, **options: Any) -> Any:
        """Ask until it answers: it may be starting again."""
        headers = {"authorization": f"Bearer {self.secret}", **options.pop("headers", {})}
        answers: list[httpx2.Response] = []

        def answered() -> bool:
            try:
                url = f"http://127.0.0.1:{self.processes[service].port}{path}"
                answers.append(httpx2.request(method, url, headers=headers, timeout=running.START_SECONDS, **options))
            except httpx2.TransportError:
                return False
            return answers[-1].status_code != 503

        running.until(answered, what=f"{method} {path}")
        assert answers[-1].status_code in (200, 202), answers[-1].text
        return answers[-1].json() if "json" in answers[-1].headers["content-type"] else answers[-1].text

    def send(self, change_type: str, numbers: range) -> None:
        """A batch of changes; sent again under the same ids until it is answered."""
        for start in range(numbers.start, numbers.stop, BATCH):
            events = [self._event(change_type, number) for number in range(start, min(start + BATCH, numbers.stop))]
            self.call("webhook", "POST", "/v1/events", json=events)

    def _event(self, change_type: str, number: int) -> dict[str, object]:
        document, turn = f"doc-{number}", next(self._numbers)
        event: dict[str, object] = {"event_id": f"event-{turn}", "document_id": document, "change_type": change_type}
        self.texts.pop(document, None)
        if change_type == "delete":
            return event
        self.texts[document] = f"{SIGN} number {number} turn {turn}"
        return {**event, "text": self.texts[document]}

    def settled(self) -> bool:
        counts = self.call("webhook", "GET", "/v1/status")["counts"]
        waiting = sum(counts.get(state, 0) for state in ("pending", "indexing", "updating"))
        searchable: int = counts["searchable"]
        return waiting == 0 and searchable == len(self.texts)


@pytest.fixture(params=["postgresql"])
def together(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Together]:
    if request.param == "postgresql":
        store = request.getfixturevalue("postgresql_url")
    else:
        store = f"sqlite:///{tmp_path}/ledger.db"
    secret = asyncio.run(keys.prepared(store))
    with telemetry.receiving() as spans:
        extra = {
            "BLOOMWEAVER_VISIBILITY_SECONDS": "3",
            "OTEL_EXPORTER_OTLP_ENDPOINT": spans.url,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        with running.Services(tmp_path, store=store, extra=extra) as services:
            made = Together(services, secret, spans)
            made.start("webhook")
            services.until_ready()
            for name, arguments in WORKERS:
                made.start(name, *arguments)
            services.until_ready()
            yield made


@pytest.mark.timeout(900)
def test_every_process_is_killed_once_and_what_is_left_is_what_was_sent(together: Together):
    for number, label in enumerate(list(together.processes)):
        share = DOCUMENTS // len(together.processes)
        last = number == len(together.processes) - 1
        together.send("insert", range(number * share, DOCUMENTS if last else (number + 1) * share))
        together.kill_and_start_again(label)
    together.send("update", UPDATED)
    together.send("delete", DELETED)
    running.until(together.settled, what="documents still wait", seconds=400)

    audit = together.call("reconciler", "POST", "/v1/audit", json={})
    assert audit["clean"], audit
    shown = {
        document: together.call("webhook", "GET", f"/v1/collections/default/documents/{document}/text?version=live")
        for document in together.texts
    }
    assert shown == together.texts
    hits = together.call("search", "POST", "/v1/search", json={"query": SIGN, "limit": 100})["hits"]
    found = {hit["document_id"]: hit["chunk"]["text"] for hit in hits}
    assert found
    assert found.items() <= together.texts.items()

    trace = _one_trace(together)
    for service in list(together.processes.values()):
        assert service.end() == 0, service.log.read_text()
    _no_secret_and_no_text_in_any_log(together)
    assert {"bloomweaver-webhook", "bloomweaver-embedder", "bloomweaver-writer"} <= {span.service for span in trace}


def _one_trace(together: Together) -> list[telemetry.Span]:
    """Of a change that is followed from the request to the vectors, under the trace of whoever sent it."""
    trace = "5e" * 16
    together.call(
        "webhook",
        "PUT",
        "/v1/collections/default/documents/traced?wait=searchable&timeout=60",
        json={"text": f"{SIGN} traced", "media_type": "text/plain"},
        headers={"traceparent": f"00-{trace}-{'1f' * 8}-01"},
    )
    wanted = {"ledger.accept", "work change", "embedder.encode", "ledger.intend", "work create", "vectors.upsert"}
    wanted |= {"ledger.settle"}

    def complete() -> bool:
        names = {span.name for span in together.spans.of_trace(trace)}
        return wanted <= names and any(name.startswith("PUT /v1/collections/{") for name in names)

    running.until(complete, what=f"a whole trace, with {sorted(wanted)}")
    return together.spans.of_trace(trace)


def _no_secret_and_no_text_in_any_log(together: Together) -> None:
    logs = {log.name: log.read_text() for log in together.services.folder.glob("*.log")}
    assert any("event-3" in text for text in logs.values()), "changes are logged by their ids"
    for name, text in logs.items():
        assert SIGN not in text, name
        assert running.SECRET not in text, name
        assert together.secret not in text, name
    assert SIGN not in str(together.spans.spans)
    assert together.secret not in str(together.spans.spans)
