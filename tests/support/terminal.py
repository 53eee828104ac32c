"""The command line against the real routes, in this process: it runs in a thread, its requests hop to the test's loop.

After every request that may change something the workers do what is to be done, so that nothing has to be waited for.
"""

import asyncio
import contextlib
import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import httpx2
import pytest
import structlog

from bloomweaver.cli import main, surroundings
from tests.support import served

MASKS = (
    (re.compile(r"\bpush-[0-9a-f]{12}\b"), "push-BATCH"),
    (re.compile(r"\bbw_[a-z2-7]{8}_[A-Za-z0-9_-]{43}"), "bw_SECRET"),
    (re.compile(r"\b\d+(\.\d)? ms\b"), "N ms"),
    (re.compile(r"Done in [\d.]+ s"), "Done in N s"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?"), "DATE TIME"),
    (re.compile(r'"seconds": [\d.]+'), '"seconds": N'),
    (re.compile(r'"took_seconds": [\d.]+'), '"took_seconds": N'),
)


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def masked(self) -> str:
        """What a person saw, without what differs from run to run."""
        text = self.out + (f"--- stderr\n{self.err}" if self.err else "") + f"--- exit code {self.code}\n"
        for pattern, mask in MASKS:
            text = pattern.sub(mask, text)
        return text


class Hop(httpx2.AsyncBaseTransport):
    """From the loop of a command to the loop of the test. log: what was asked. away: so many first calls fail."""

    def __init__(self, api: served.Served, *, working: bool = True) -> None:
        self._api = api
        self._loop = asyncio.get_running_loop()
        self._working = working
        self.log: list[str] = []
        self.sent: list[bytes] = []
        self.refusals: list[httpx2.Response | httpx2.TransportError] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = await request.aread()
        self.log.append(f"{request.method} {request.url.raw_path.decode()}")
        if request.method == "POST" and request.url.path == "/v1/events":
            self.sent.append(body)
            if self.refusals:
                refusal = self.refusals.pop(0)
                if isinstance(refusal, Exception):
                    raise refusal
                return refusal
        answer = asyncio.run_coroutine_threadsafe(self._answer(request, body), self._loop)
        return await asyncio.wrap_future(answer)

    async def _answer(self, request: httpx2.Request, body: bytes) -> httpx2.Response:
        headers = {name: value for name, value in request.headers.items() if name != "content-length"}
        transport = httpx2.ASGITransport(self._api.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            path = request.url.raw_path.decode()
            answer = await client.request(request.method, path, headers=headers, content=body)
        if request.method != "GET" and self._working:
            await self._api.settle()
        return httpx2.Response(answer.status_code, headers=dict(answer.headers), content=answer.content)


class Terminal:
    """Runs commands. hop: what they asked of the server."""

    def __init__(self, api: served.Served, capsys: pytest.CaptureFixture[str], *, working: bool = True) -> None:
        self._capsys = capsys
        self._api = api
        self.hop = Hop(api, working=working)

    async def run(self, *arguments: str, secret: str | None = None, **variables: str) -> Ended:
        """Run one command."""
        given = {"BLOOMWEAVER_API_KEY": self._api.secret if secret is None else secret, **variables}
        around = surroundings.Surroundings(given, self.hop)
        self._capsys.readouterr()
        with quiet():
            code = await asyncio.to_thread(main.run, arguments, around)
        captured = self._capsys.readouterr()
        return Ended(code, captured.out, captured.err)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The server's log lines go nowhere: in this process they would go where the command prints."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory(), processors=[_drop])
    try:
        yield
    finally:
        structlog.reset_defaults()


def _drop(*_: object) -> NoReturn:
    raise structlog.DropEvent


def problem(status: int, reason: str, headers: dict[str, str] | None = None) -> httpx2.Response:
    """A problem as the server would answer it."""
    body: dict[str, Any] = {"type": f"/docs/reasons/{reason}", "title": "Not now", "status": status, "reason": reason}
    return httpx2.Response(status, json=body, headers=headers or {})


def lines(text: str) -> Sequence[str]:
    """The lines that are not empty."""
    return [line for line in text.splitlines() if line.strip()]
