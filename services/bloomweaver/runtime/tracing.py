"""Traces across the queue: from the request to the vectors that search shows, as OpenTelemetry spans.

Off, and free of cost, unless OTEL_EXPORTER_OTLP_ENDPOINT is set. A hint carries the trace of the request that caused it
(W3C Trace Context); whoever works on it continues that trace. Invariant: a span names routes, queues, stages and public
ids, never a text, a title or a credential; what an error says is not recorded, only its kind.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

from bloomweaver.domain.errors import BloomWeaverError, ConfigurationError
from bloomweaver.domain.events import Hint
from bloomweaver.domain.reasons import Reason
from bloomweaver.ports import opened
from bloomweaver.runtime import context

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.sdk import trace as sdk

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
FLUSH_MILLISECONDS: Final = 3000

PortT = TypeVar("PortT")


class Span(Protocol):
    """What is under way."""

    def describe(self, name: str, attributes: Mapping[str, str | int]) -> None:
        """Say more about it, now that more is known."""
        ...


class Tracer(Protocol):
    """Notes what is done, under what it is done for."""

    def span(self, name: str, **attributes: str | int) -> contextlib.AbstractContextManager[Span]:
        """Something that is part of what is under way."""
        ...

    def request(self, name: str) -> contextlib.AbstractContextManager[Span]:
        """A request; what it causes belongs to its trace, or to that of its caller."""
        ...

    def working(self, queue: str, hints: Sequence[Hint]) -> contextlib.AbstractContextManager[None]:
        """Work on hints, each in the trace of the request that caused it."""
        ...


class Silent:
    """No tracing: costs next to nothing."""

    def span(self, name: str, **attributes: str | int) -> contextlib.AbstractContextManager[Span]:
        """See Tracer."""
        return contextlib.nullcontext(self)

    def request(self, name: str) -> contextlib.AbstractContextManager[Span]:
        """See Tracer."""
        return contextlib.nullcontext(self)

    @contextlib.contextmanager
    def working(self, queue: str, hints: Sequence[Hint]) -> Iterator[None]:
        """See Tracer. Log lines name the trace of the first hint all the same."""
        with context.using(replace(context.current(), traceparent=hints[0].traceparent if hints else None)):
            yield

    def describe(self, name: str, attributes: Mapping[str, str | int]) -> None:
        """See Span."""


class OpenTelemetry:
    """See Tracer."""

    def __init__(self, provider: "sdk.TracerProvider") -> None:
        self._tracer = provider.get_tracer("bloomweaver")

    @contextlib.contextmanager
    def span(self, name: str, **attributes: str | int) -> Iterator[Span]:
        """See Tracer."""
        from opentelemetry import trace

        with self._begun(name, None, trace.SpanKind.INTERNAL, attributes) as span:
            yield _Described(span)

    @contextlib.contextmanager
    def request(self, name: str) -> Iterator[Span]:
        """See Tracer."""
        from opentelemetry import trace

        here = context.current()
        with (
            self._begun(name, here.traceparent, trace.SpanKind.SERVER, {"request_id": here.request_id}) as span,
            context.using(replace(here, traceparent=_traceparent_of(span))),
        ):
            yield _Described(span)

    @contextlib.contextmanager
    def working(self, queue: str, hints: Sequence[Hint]) -> Iterator[None]:
        """See Tracer. What is done for all together is noted in the trace of the first; the others link to it."""
        from opentelemetry import trace

        first, *others = hints
        name, kind = f"work {queue.partition(':')[0]}", trace.SpanKind.CONSUMER
        with contextlib.ExitStack() as stack:
            leader = stack.enter_context(self._begun(name, first.traceparent, kind, _named(first, len(hints))))
            links = [trace.Link(leader.get_span_context())]
            for hint in others:
                if hint.traceparent is not None and hint.traceparent != first.traceparent:
                    span = self._tracer.start_span(
                        name,
                        context=_context_of(hint.traceparent),
                        kind=kind,
                        attributes=_named(hint, len(hints)),
                        links=links,
                    )
                    stack.callback(span.end)
            stack.enter_context(context.using(replace(context.current(), traceparent=_traceparent_of(leader))))
            yield

    @contextlib.contextmanager
    def _begun(
        self, name: str, parent: str | None, kind: "trace.SpanKind", attributes: Mapping[str, str | int]
    ) -> "Iterator[trace.Span]":
        from opentelemetry import trace

        with self._tracer.start_as_current_span(
            name,
            context=_context_of(parent) if parent else None,
            kind=kind,
            attributes=dict(attributes),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as error:
                known = error.reason.value if isinstance(error, BloomWeaverError) else type(error).__name__
                span.set_attribute("error.type", known)
                span.set_status(trace.StatusCode.ERROR)
                raise


class _Described:
    def __init__(self, span: "trace.Span") -> None:
        self._span = span

    def describe(self, name: str, attributes: Mapping[str, str | int]) -> None:
        """See Span."""
        self._span.update_name(name)
        self._span.set_attributes(dict(attributes))


@contextlib.contextmanager
def opened_tracer(service: str, *, version: str, variables: Mapping[str, str]) -> Iterator[Tracer]:
    """The tracer of a process: one that sends spans where the variables say so, else none. Flushes at the end."""
    if not any(variables.get(name) for name in ENDPOINTS):
        yield Silent()
        return
    try:
        from opentelemetry.exporter.otlp.proto.http import trace_exporter
        from opentelemetry.sdk.trace import export
    except ImportError as error:
        raise missing_package() from error
    processor = export.BatchSpanProcessor(trace_exporter.OTLPSpanExporter())
    with sending(service, version=version, processor=processor) as tracer:
        yield tracer


def missing_package() -> ConfigurationError:
    """Traces are wished, but cannot be sent."""
    detail = f"{ENDPOINTS[0]} is set, but the package for it is not installed. Install bloomweaver[tracing]."
    return ConfigurationError(Reason.INVALID_CONFIGURATION, detail)


@contextlib.contextmanager
def sending(service: str, *, version: str, processor: "sdk.SpanProcessor") -> Iterator[Tracer]:
    """A tracer that hands its spans to a processor."""
    from opentelemetry.sdk import resources
    from opentelemetry.sdk import trace as sdk

    named = resources.Resource.create({"service.name": service, "service.version": version})
    provider = sdk.TracerProvider(resource=named, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    try:
        yield OpenTelemetry(provider)
    finally:
        provider.force_flush(FLUSH_MILLISECONDS)
        provider.shutdown()


def traced(ports: opened.Ports, tracer: Tracer) -> opened.Ports:
    """The same ports; the calls that a trace is read for are spans. Without tracing they are left as they are."""
    if isinstance(tracer, Silent):
        return ports
    return replace(
        ports,
        ledger=watched(ports.ledger, tracer, "ledger", ("accept", "intend", "settle", "removed", "visible")),
        queues=watched(ports.queues, tracer, "queues", ("send",)),
        blobs=watched(ports.blobs, tracer, "blobs", ("put", "get")),
        vectors=watched(ports.vectors, tracer, "vectors", ("upsert", "query", "delete")),
    )


def watched(port: PortT, tracer: Tracer, name: str, calls: Sequence[str]) -> PortT:
    """The same object, of which these coroutines are spans."""
    if isinstance(tracer, Silent):
        return port
    return cast("PortT", _Watched(port, tracer, name, frozenset(calls)))


class _Watched:
    """Passes everything on. Not written out port by port: it adds nothing that differs from one call to another."""

    def __init__(self, port: object, tracer: Tracer, name: str, calls: frozenset[str]) -> None:
        self._port = port
        self._tracer = tracer
        self._name = name
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if name not in self._calls:
            return found
        call: Callable[..., Awaitable[object]] = found

        async def noted(*args: object, **kwargs: object) -> object:
            with self._tracer.span(f"{self._name}.{name}"):
                return await call(*args, **kwargs)

        return noted


def _named(hint: Hint, size: int) -> dict[str, str | int]:
    return {
        "collection_uid": hint.collection_uid,
        "document_id": hint.document_id,
        "seq": hint.seq,
        "batch_hints": size,
    }


def _context_of(traceparent: str) -> Any:
    from opentelemetry.trace.propagation import tracecontext

    return tracecontext.TraceContextTextMapPropagator().extract({"traceparent": traceparent})


def _traceparent_of(span: "trace.Span") -> str:
    here = span.get_span_context()
    return f"00-{here.trace_id:032x}-{here.span_id:016x}-{int(here.trace_flags):02x}"
