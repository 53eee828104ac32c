"""Consumers and repeated tasks of a process: drained in order, refused without harm, never half alive."""

import asyncio
from collections.abc import Callable, Sequence

import prometheus_client

from bloomweaver.adapters import opening
from bloomweaver.domain.errors import ConfigurationError, TransientError
from bloomweaver.domain.events import Hint
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import opened, queues
from bloomweaver.runtime import consumer, metrics, stages, tracing
from tests.support import pipelines

PACE = consumer.Pace(wait_seconds=0.01, pause_seconds=0.0)


class Worker:
    """Calls what the test says with every batch."""

    def __init__(self, behave: Callable[[], object]) -> None:
        self._behave = behave
        self.called = asyncio.Event()

    async def work(self, hints: Sequence[Hint]) -> list[queues.Trouble]:
        self.called.set()
        answer = self._behave()
        if asyncio.iscoroutine(answer):
            await answer
        return []


async def made(pipe: pipelines.Pipeline, deaths: list[str], **options: float) -> tuple[stages.Stages, opened.Ports]:
    ports = await opening.all_ports(pipe.store, clock=pipe.clock, nonces=pipe.nonces)
    recorder = metrics.Metrics(prometheus_client.CollectorRegistry(), version="0")
    parts = stages.Stages(
        ports, metrics=recorder, on_death=lambda: deaths.append("dead"), tracer=tracing.Silent(), **options
    )
    return parts, ports


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not reached():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)


async def test_what_is_in_work_is_finished_before_the_end() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        parts, _ = await made(pipe, [])
        release = asyncio.Event()
        worker = Worker(release.wait)
        async with parts:
            parts.consume(pipe.change_queue, worker, pace=PACE)
            await worker.called.wait()
            asyncio.get_running_loop().call_later(0.01, release.set)
        assert pipe.change_queue not in await pipe.store.queues.depths()


async def test_what_does_not_end_within_the_grace_is_given_back_at_once() -> None:
    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        parts, _ = await made(pipe, [], drain_seconds=0.01)
        worker = Worker(asyncio.Event().wait)
        async with parts:
            parts.consume(pipe.change_queue, worker, pace=PACE)
            await worker.called.wait()
        depth = (await pipe.store.queues.depths())[pipe.change_queue]
        assert (depth.visible, depth.in_flight) == (1, 0)


async def test_a_worker_that_is_set_up_wrongly_makes_unready_touches_no_row_and_looks_again() -> None:
    refusals = [ConfigurationError(Reason.CREDENTIALS_REFUSED, "the password is another")]

    def behave() -> None:
        if refusals:
            raise refusals.pop()

    async with pipelines.opened() as pipe:
        await pipe.put("a", "one two three")
        deaths: list[str] = []
        parts, _ = await made(pipe, deaths, refused_pause_seconds=0.02)
        worker = Worker(behave)
        async with parts:
            parts.consume(pipe.change_queue, worker, pace=PACE)
            await until(lambda: bool(parts._refused))
            (sentence,) = await parts.obstacles()
            assert sentence.startswith(f"{pipe.change_queue}: credentials_refused")
            assert "password" not in sentence
            row = (await pipe.look("a")).row
            assert (row.attempts, row.reason) == (0, None)
            worker.called.clear()
            await worker.called.wait()
            await until(lambda: parts._consumers[pipe.change_queue].progress.done > 0)
            assert await parts.obstacles() == []
        assert deaths == []


async def test_a_part_that_ends_by_itself_ends_the_process() -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    async with pipelines.opened() as pipe:
        deaths: list[str] = []
        parts, _ = await made(pipe, deaths)
        async with parts:
            parts.repeat("healing", broken, seconds=60.0)
            await until(lambda: bool(deaths))
            assert await parts.obstacles() == ["healing: has ended"]


async def test_a_repeated_task_outlives_an_outage_and_tells_of_a_refusal() -> None:
    outcomes: list[Exception | None] = [
        TransientError(Reason.LEDGER_UNAVAILABLE),
        ConfigurationError(Reason.CREDENTIALS_REFUSED),
        None,
    ]
    told: list[list[str]] = []

    async with pipelines.opened() as pipe:
        deaths: list[str] = []
        parts, _ = await made(pipe, deaths)

        async def sometimes() -> None:
            told.append([text.partition(" ")[0] for text in await parts.obstacles()])
            error = outcomes.pop(0) if outcomes else None
            if error is not None:
                raise error

        async with parts:
            parts.repeat("healing", sometimes, seconds=0.0)
            await until(lambda: len(told) >= 4)
        assert told[:4] == [[], [], ["healing:"], []]
        assert deaths == []
