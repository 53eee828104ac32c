"""KEDA's external-push contract over gRPC, answered from the board.

The messages are described here instead of by generated code: their library builds the same classes from it, and a
reader sees all of the contract on one page. A lane that nobody named is an error of the ScaledObject, and is told so.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from bloomweaver.controller import scaling

PACKAGE: Final = "externalscaler"
SERVICE: Final = f"{PACKAGE}.ExternalScaler"
METRIC: Final = "chunks"
GRACE_SECONDS: Final = 1.0

_TYPES: Final = {
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "double": descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
}
# Fields by number, from 1; `*` repeats.
_MESSAGES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "ScaledObjectRef": (("name", "string"), ("namespace", "string"), ("scalerMetadata", "map")),
    "IsActiveResponse": (("result", "bool"),),
    "MetricSpec": (("metricName", "string"), ("targetSize", "int64"), ("targetSizeFloat", "double")),
    "GetMetricSpecResponse": (("metricSpecs", "*MetricSpec"),),
    "GetMetricsRequest": (("scaledObjectRef", "ScaledObjectRef"), ("metricName", "string")),
    "MetricValue": (("metricName", "string"), ("metricValue", "int64"), ("metricValueFloat", "double")),
    "GetMetricsResponse": (("metricValues", "*MetricValue"),),
}


class Messages:
    """The classes of the messages, by name."""

    def __init__(self) -> None:
        file = descriptor_pb2.FileDescriptorProto(name="externalscaler.proto", package=PACKAGE, syntax="proto3")
        for name, fields in _MESSAGES.items():
            described = file.message_type.add(name=name)
            for number, (field, kind) in enumerate(fields, 1):
                _add_field(described, field, kind, number=number)
        pool = descriptor_pool.DescriptorPool()
        pool.Add(file)  # type: ignore[no-untyped-call,unused-ignore]  # the stubs of some releases leave it out
        self._classes = {
            name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in _MESSAGES
        }

    def __getitem__(self, name: str) -> Any:
        return self._classes[name]


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, kind: str, *, number: int) -> None:
    repeated = kind.startswith("*") or kind == "map"
    label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED if repeated else None
    field = message.field.add(name=name, number=number, json_name=name)
    field.label = label or descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
    if kind in _TYPES:
        field.type = _TYPES[kind]
        return
    field.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
    if kind != "map":
        field.type_name = f".{PACKAGE}.{kind.removeprefix('*')}"
        return
    entry = message.nested_type.add(name="ScalerMetadataEntry")
    entry.options.map_entry = True
    for place, part in enumerate(("key", "value"), 1):
        _add_field(entry, part, "string", number=place)
    field.type_name = f".{PACKAGE}.{message.name}.ScalerMetadataEntry"


class ExternalScaler:
    """The four calls."""

    def __init__(self, board: scaling.Board, messages: Messages) -> None:
        self._board = board
        self._messages = messages

    async def is_active(self, reference: Any, context: Any) -> Any:
        """Asked at each poll."""
        lane = await _lane_of(reference, context)
        return self._messages["IsActiveResponse"](result=await _known(lambda: self._board.active(lane), context))

    async def stream_is_active(self, reference: Any, context: Any) -> AsyncIterator[Any]:
        """Tells at once when a lane becomes active; KEDA lets it fall asleep by its polls."""
        lane = await _lane_of(reference, context)
        await context.send_initial_metadata(())
        told = False
        while True:
            with contextlib.suppress(scaling.Stale):
                active = self._board.active(lane)
                if active != told:
                    told = active
                    yield self._messages["IsActiveResponse"](result=active)
            await self._board.change()

    async def get_metric_spec(self, reference: Any, context: Any) -> Any:
        """What one pod finishes in time."""
        lane = await _lane_of(reference, context)
        size = self._board.per_pod(lane, drain_seconds=await _drain_of(reference, context))
        spec = self._messages["MetricSpec"](metricName=METRIC, targetSize=size, targetSizeFloat=float(size))
        return self._messages["GetMetricSpecResponse"](metricSpecs=[spec])

    async def get_metrics(self, request: Any, context: Any) -> Any:
        """What waits."""
        lane = await _lane_of(request.scaledObjectRef, context)
        size = await _known(lambda: self._board.size(lane), context)
        value = self._messages["MetricValue"](
            metricName=METRIC, metricValue=size.chunks, metricValueFloat=float(size.chunks)
        )
        return self._messages["GetMetricsResponse"](metricValues=[value])

    def handler(self) -> "grpc.GenericRpcHandler[Any, Any]":
        """For a server."""
        reference = self._messages["ScaledObjectRef"].FromString
        request = self._messages["GetMetricsRequest"].FromString
        encode: Callable[[Any], bytes] = lambda message: message.SerializeToString()  # noqa: E731 - one line says it
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "IsActive": unary(self.is_active, reference, encode),
                "StreamIsActive": stream(self.stream_is_active, reference, encode),
                "GetMetricSpec": unary(self.get_metric_spec, reference, encode),
                "GetMetrics": unary(self.get_metrics, request, encode),
            },
        )


async def _lane_of(reference: Any, context: Any) -> str:
    lane = str(reference.scalerMetadata["lane"])
    if not lane:
        what = f"ScaledObject {reference.namespace}/{reference.name}: metadata.lane of the trigger is missing"
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, what)
    return lane


async def _drain_of(reference: Any, context: Any) -> int:
    given = str(reference.scalerMetadata["targetDrainSeconds"]) or str(scaling.DRAIN_SECONDS)
    if not given.isascii() or not given.isdigit() or int(given) < 1:
        what = f"ScaledObject {reference.namespace}/{reference.name}: targetDrainSeconds is no number of seconds"
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, what)
    return int(given)


async def _known(ask: Callable[[], Any], context: Any) -> Any:
    try:
        return ask()
    except scaling.Stale as error:
        await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))


@contextlib.asynccontextmanager
async def serving(board: scaling.Board, address: str) -> AsyncIterator[int]:
    """Answering on HOST:PORT until the context ends; gives the port."""
    server = grpc.aio.server(maximum_concurrent_rpcs=1000)
    server.add_generic_rpc_handlers((ExternalScaler(board, Messages()).handler(),))
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(GRACE_SECONDS)
