"""KEDA's side of the contract, by a real gRPC client on loopback."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from bloomweaver.controller import external_scaler, scaling
from bloomweaver.domain.documents import Backlog
from bloomweaver.domain.measured import Measured
from bloomweaver.testing import clocks

LANE = "change:space-a"
SECONDS = 120


class Keda:
    """A client of the four calls."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self.messages = external_scaler.Messages()

    def reference(self, **metadata: str) -> Any:
        return self.messages["ScaledObjectRef"](name="minilm", namespace="kb", scalerMetadata=metadata)

    async def call(self, method: str, request: Any, answer: str) -> Any:
        path = f"/{external_scaler.SERVICE}/{method}"
        called = self._channel.unary_unary(
            path, lambda message: message.SerializeToString(), self.messages[answer].FromString
        )
        return await called(request, timeout=SECONDS)

    def stream(self, request: Any) -> Any:
        path = f"/{external_scaler.SERVICE}/StreamIsActive"
        decode = self.messages["IsActiveResponse"].FromString
        return self._channel.unary_stream(path, lambda message: message.SerializeToString(), decode)(request)


@pytest.fixture
def clock() -> clocks.ManualClock:
    return clocks.ManualClock()


@pytest.fixture
def board(clock: clocks.ManualClock) -> scaling.Board:
    return scaling.Board(clock=clock)


@pytest.fixture
async def keda(board: scaling.Board) -> AsyncIterator[Keda]:
    async with (
        external_scaler.serving(board, "127.0.0.1:0") as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield Keda(channel)


async def test_a_lane_with_work_is_active_and_sized(board: scaling.Board, keda: Keda):
    board.note([Backlog(LANE, 100, bytes=800_000)])
    board.measured({"space-a": Measured(10, 1)})
    reference = keda.reference(lane=LANE, targetDrainSeconds="20")
    assert (await keda.call("IsActive", reference, "IsActiveResponse")).result
    (spec,) = (await keda.call("GetMetricSpec", reference, "GetMetricSpecResponse")).metricSpecs
    request = keda.messages["GetMetricsRequest"](scaledObjectRef=reference, metricName=spec.metricName)
    (value,) = (await keda.call("GetMetrics", request, "GetMetricsResponse")).metricValues
    assert (value.metricName, value.metricValue, spec.targetSize) == (spec.metricName, 1000, 200)


async def test_a_stream_tells_at_once_that_a_lane_has_work(board: scaling.Board, keda: Keda):
    board.note([])
    stream = keda.stream(keda.reference(lane=LANE))
    reading = asyncio.create_task(stream.read())
    await stream.wait_for_connection()
    board.note([Backlog("create", 1)])
    board.note([Backlog(LANE, 1)])
    assert (await asyncio.wait_for(reading, SECONDS)).result
    stream.cancel()


async def test_a_ledger_that_does_not_answer_leaves_it_to_the_fallback(keda: Keda):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await keda.call("IsActive", keda.reference(lane=LANE), "IsActiveResponse")
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("method", "answer", "metadata"),
    [
        ("IsActive", "IsActiveResponse", {}),
        ("GetMetricSpec", "GetMetricSpecResponse", {"lane": LANE, "targetDrainSeconds": "soon"}),
    ],
)
async def test_a_trigger_that_is_wrong_is_told_what_is_missing(
    keda: Keda, method: str, answer: str, metadata: dict[str, str]
):
    with pytest.raises(grpc.aio.AioRpcError, match=r"kb/minilm") as refused:
        await keda.call(method, keda.reference(**metadata), answer)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
