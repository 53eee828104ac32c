import asyncio

import httpx2
import structlog

from bloomweaver.testing import clocks
from bloomweaver.webhook import waking

URL = "http://controller:8085/wake"


class Rests:
    """Pauses that end when the test says so; `begun` counts them."""

    def __init__(self) -> None:
        self.begun = asyncio.Semaphore(0)
        self.over = asyncio.Semaphore(0)

    async def __call__(self, seconds: float) -> None:
        assert seconds == waking.LEAST_SECONDS
        self.begun.release()
        await self.over.acquire()


class Controller:
    """Counts calls and answers as told."""

    def __init__(self, answer: int | Exception = 202) -> None:
        self.answer = answer
        self.calls: list[str] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.calls.append(f"{request.method} {request.url}")
        if isinstance(self.answer, Exception):
            raise self.answer
        return httpx2.Response(self.answer)


class Telling:
    """A waker over a controller that is not there, running until the context ends."""

    def __init__(self, controller: Controller) -> None:
        self.rests = Rests()
        self.clock = clocks.ManualClock()
        self._http = httpx2.AsyncClient(transport=httpx2.MockTransport(controller))
        self.waker = waking.Waker(self._http, URL, clock=self.clock, rest=self.rests)

    async def __aenter__(self) -> "Telling":
        self._task = asyncio.create_task(self.waker.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._http.aclose()

    async def called(self) -> None:
        """Until a call was made and its rest began."""
        await asyncio.wait_for(self.rests.begun.acquire(), 60)


async def test_the_first_change_is_told_at_once_and_those_of_the_rest_together():
    controller = Controller()
    async with Telling(controller) as telling:
        telling.waker.note()
        await telling.called()
        for _ in range(50):
            telling.waker.note()
        telling.rests.over.release()
        await telling.called()
        assert controller.calls == [f"POST {URL}"] * 2


async def test_nothing_new_means_no_call():
    controller = Controller()
    async with Telling(controller) as telling:
        telling.waker.note()
        await telling.called()
        telling.rests.over.release()
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(controller.calls) == 1


async def test_a_controller_that_is_away_costs_one_line_a_minute():
    for answer in (httpx2.ConnectError("refused"), httpx2.ReadTimeout("late"), 503):
        with structlog.testing.capture_logs() as lines:
            async with Telling(Controller(answer)) as telling:
                for number in range(4):
                    telling.clock.advance(0 if number < 3 else waking.QUIET_SECONDS)
                    telling.waker.note()
                    await telling.called()
                    telling.rests.over.release()
        assert [line["event"] for line in lines] == ["wake_failed"] * 2
