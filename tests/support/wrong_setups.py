"""Deployments whose stores are set up wrongly, and what their processes say of it."""

import asyncio
import contextlib
import dataclasses
import pathlib
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import psycopg

from tests.support import answering, running

PAGE = b"<html><body>Welcome to nginx</body></html>"


@dataclasses.dataclass(frozen=True)
class Place:
    """A database that holds our tables, and how to start processes over it."""

    url: str
    folder: pathlib.Path

    @contextlib.contextmanager
    def services(self, *, store: str | None = None, **extra: str) -> Iterator[running.Services]:
        with running.Services(self.folder, store=store or self.url, extra=extra) as made:
            yield made

    def refused(self, name: str = "writer", *, store: str | None = None, **extra: str) -> dict[str, Any]:
        """The one line of a process that ends with code 78."""
        with self.services(store=store, **extra) as made:
            service = made.start(name)
            assert service.process.wait(timeout=running.END_SECONDS) == 78, service.log.read_text()
            told = service.lines()
        assert "Traceback" not in str(told)
        (line,) = [line for line in told if line["event"] == "cannot_run"]
        assert line["what"]
        assert line["why"]
        assert line["next"]
        return line

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"SET search_path TO bloomweaver, public; {statement}".encode())


@contextlib.contextmanager
def answered(status: int, body: bytes, content_type: str = "text/html", **more: str) -> Iterator[str]:
    """The URL of a server that gives every request this answer, beside the test."""
    started, ended = threading.Event(), threading.Event()
    port = 0

    async def serve() -> None:
        nonlocal port
        async with answering.answering(status, body, content_type, **more) as given:
            port = given.port
            started.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    started.wait()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        ended.set()
        thread.join()


def unready(place: Place, part: str, name: str = "writer", *, words: str = "", **extra: str) -> str:
    """What readiness says of a store that cannot be used; the process lives, answers, and has no fault of its own.

    words: that are waited for, where it says something else before.
    """
    sentences: list[str] = []
    with place.services(**extra) as made:
        service = made.start(name)

        def told() -> bool:
            assert service.process.poll() is None, service.log.read_text()
            status, answer = service.get("/readyz")
            obstacles = answer["obstacles"] if status == 503 else ()
            sentences[:] = [line for line in obstacles if line.startswith(f"{part}: ") and words in line]
            return bool(sentences)

        running.until(told, what=service.log)
        assert service.get("/healthz")[0] == 200
        assert "Traceback" not in service.log.read_text()
    (sentence,) = sentences
    return sentence


def waits(service: running.Service, reason: str) -> str:
    """What a process that waits at its start, unready, has logged as the detail."""

    def told() -> bool:
        assert service.process.poll() is None, service.log.read_text()
        status, answer = service.get("/readyz")
        return status == 503 and f"start: waits: {reason}" in answer["obstacles"]

    running.until(told, what=service.log)
    (line, *_) = [line for line in service.lines() if line["event"] == "waits_for_dependency"]
    return str(line["detail"])


def pinecone(place: Place, url: str) -> str:
    key = place.folder / "api-key"
    key.write_text("any")
    return f"pinecone://index?controller={url}&key_file={key}"


def call(service: running.Service, key: str, method: str, path: str, **options: Any) -> Any:
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx2.request(
        method, f"http://127.0.0.1:{service.port}{path}", headers=headers, timeout=running.START_SECONDS, **options
    )
    assert answer.status_code in (200, 202), answer.text
    return answer.json()
