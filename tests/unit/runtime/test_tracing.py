"""Traces: across the queue, by the hint's traceparent; of kinds of errors, never of what they say."""

import pytest
from opentelemetry.sdk.trace import export
from opentelemetry.sdk.trace.export import in_memory_span_exporter as memory

from bloomweaver.domain.errors import ConfigurationError, PermanentError
from bloomweaver.domain.events import Hint
from bloomweaver.domain.identity import CollectionUid, DocumentId, TenantId
from bloomweaver.domain.reasons import Reason
from bloomweaver.runtime import context, tracing


def hint(document_id: str, traceparent: str | None) -> Hint:
    return Hint(TenantId("t"), CollectionUid("c"), DocumentId(document_id), 1, traceparent=traceparent)


def parent(letter: str) -> str:
    return f"00-{letter * 32}-{letter * 16}-01"


def test_work_goes_on_in_the_trace_of_the_request_that_caused_it() -> None:
    kept = memory.InMemorySpanExporter()
    with tracing.sending("test", version="0", processor=export.SimpleSpanProcessor(kept)) as tracer:
        with tracer.request("POST") as span:
            sent = context.current().traceparent
            span.describe("POST /v1/events", {"http.response.status_code": 202})
        with tracer.working("change:space", [hint("a", sent)]), tracer.span("embed"):
            pass
    names = {span.name: span for span in kept.get_finished_spans()}
    assert set(names) == {"POST /v1/events", "work change", "embed"}
    assert len({span.context.trace_id for span in names.values()}) == 1
    assert names["work change"].attributes is not None
    assert names["work change"].attributes["document_id"] == "a"


def test_the_callers_trace_is_continued() -> None:
    kept = memory.InMemorySpanExporter()
    with (
        tracing.sending("test", version="0", processor=export.SimpleSpanProcessor(kept)) as tracer,
        context.using(context.RequestContext("r", parent("5"))),
        tracer.request("POST"),
    ):
        pass
    (span,) = kept.get_finished_spans()
    assert f"{span.context.trace_id:032x}" == "5" * 32


def test_hints_of_several_traces_are_in_each_and_linked_to_the_one_that_has_the_work() -> None:
    kept = memory.InMemorySpanExporter()
    hints = [hint("a", parent("1")), hint("b", parent("2")), hint("c", None)]
    with (
        tracing.sending("test", version="0", processor=export.SimpleSpanProcessor(kept)) as tracer,
        tracer.working("create", hints),
        tracer.span("upsert"),
    ):
        pass
    found = {(span.name, f"{span.context.trace_id:032x}"[0]): span for span in kept.get_finished_spans()}
    assert set(found) == {("work create", "1"), ("work create", "2"), ("upsert", "1")}
    (link,) = found["work create", "2"].links
    assert link.context == found["work create", "1"].context


def test_an_error_is_told_by_its_reason_and_not_by_its_words() -> None:
    kept = memory.InMemorySpanExporter()
    with (
        tracing.sending("test", version="0", processor=export.SimpleSpanProcessor(kept)) as tracer,
        pytest.raises(PermanentError),
        tracer.span("parse"),
    ):
        raise PermanentError(Reason.UNPARSABLE, "the text of the document")
    (span,) = kept.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["error.type"] == "unparsable"
    assert "the text" not in span.to_json()


def test_without_an_endpoint_nothing_is_traced_and_ports_are_left_alone() -> None:
    port = object()
    with tracing.opened_tracer("test", version="0", variables={}) as tracer:
        assert isinstance(tracer, tracing.Silent)
        assert tracing.watched(port, tracer, "ledger", ("accept",)) is port


def test_a_missing_package_is_named() -> None:
    assert "bloomweaver[tracing]" in str(tracing.missing_package())
    assert isinstance(tracing.missing_package(), ConfigurationError)
