import math
import re

import prometheus_client
import pytest

from bloomweaver.runtime import metrics
from tests.support import golden

HEAD = """\
# Metrics

`GET /metrics` of every process, in Prometheus' format. Labels have few, known values: no tenant, document, URL or key
is ever one. The first 50 collections have a label of their own, the others share `other`. The process's own memory,
CPU and garbage collection are there too (`process_…`, `python_…`). `make golden-update` writes this table.

The three to look at first: `bloomweaver_oldest_unsearchable_age_seconds` (is anything stuck),
`bloomweaver_freshness_seconds` (how long a change takes), `bloomweaver_dead_letters_total` (what was given up on, and
why).

| Metric | Type | Labels | Meaning |
| --- | --- | --- | --- |
"""


@pytest.fixture
def collector():
    return prometheus_client.CollectorRegistry()


@pytest.fixture
def made(collector):
    return metrics.Metrics(collector, version="1.2.3")


def families(collector):
    return list(collector.collect())


def test_every_call_moves_its_metric(made, collector):
    made.observe_request("GET", "/v1/x", status=200, seconds=0.1)
    made.count_refusal("not_found")
    made.count_rate_lease("granted")
    made.count_event("update", "updated", size_bytes=2000)
    made.set_queue("create", messages={"visible": 3}, oldest_age_seconds=1.5)
    made.count_receive("create", "acked")
    made.observe_stage("write", "ok", seconds=0.1)
    made.count_failure("write", "throttled")
    made.count_dead_letter("embed", "unparsable")
    made.set_documents({"failed": 2})
    made.observe_freshness("update", "handbook", cold=False, seconds=2)
    made.set_oldest_pending({"handbook": 3.0})
    made.observe_search("total", seconds=0.01)
    made.count_search(retries=1, dropped_hits=2)
    made.observe_batch(
        "m", "cpu", "document", chunks=4, tokens=80, padded=100, seconds=0.02, wait_seconds=0.3, peak_ratio=0.5
    )
    made.count_reused_chunks("m", 5)
    made.set_saturation("m", 0.5)
    made.observe_store("sqlite", "query", outcome="ok", seconds=0.003)
    made.count_action("rehint", 2)
    made.set_reindex({"done": 4})
    made.observe_reconcile("done", seconds=0.02)
    made.set_controller_queue(3, oldest_seconds=1.5)
    silent = [
        family.name
        for family in families(collector)
        if not any(sample.value for sample in family.samples if not sample.name.endswith("_created"))
    ]
    assert silent == []


def test_names_follow_the_conventions(collector, made):
    for family in families(collector):
        assert re.fullmatch(r"bloomweaver_[a-z_]+", family.name)
        assert family.documentation.endswith(".")
        if family.type == "histogram":
            assert family.name.endswith(("_seconds", "_bytes", "_ratio", "_chunks"))


def test_no_label_names_a_tenant_or_a_document(collector, made):
    labels = {
        label
        for family in families(collector)
        for instrument in [family]
        for s in instrument.samples
        for label in s.labels
    }
    assert labels.isdisjoint({"tenant", "document", "document_id", "url", "key", "path"})


def test_collections_beyond_the_cap_share_a_label(made, collector):
    for number in range(metrics.MAX_COLLECTIONS + 10):
        made.observe_freshness("update", f"c{number}", cold=False, seconds=1)
    labels = {"op": "update", "collection": "other", "cold": "false"}
    assert collector.get_sample_value("bloomweaver_freshness_seconds_count", labels) == 10


def test_a_collection_that_nothing_waits_for_leaves_the_gauge(made, collector):
    made.set_oldest_pending({"a": 1.0, "b": 2.0})
    made.set_oldest_pending({"b": 3.0})
    assert collector.get_sample_value("bloomweaver_oldest_unsearchable_age_seconds", {"collection": "a"}) is None
    assert collector.get_sample_value("bloomweaver_oldest_unsearchable_age_seconds", {"collection": "b"}) == 3.0


def test_the_exposition_names_the_release(made):
    body, content_type = made.render("")
    assert b'bloomweaver_build_info{version="1.2.3"} 1.0' in body
    assert content_type.startswith("text/plain")


def test_a_process_measures_itself():
    names = {family.name for family in metrics.process_registry().collect()}
    assert "python_gc_objects_collected" in names


def test_the_reference_page_of_metrics_is_current(collector, made):
    rows = []
    for name, text, kind, labels in sorted(made.described()):
        rows.append(f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {text} |")
    golden.check("../../docs/reference/metrics.md", HEAD + "\n".join(rows) + "\n")


def test_an_age_that_no_store_tells_is_no_number(made, collector):
    made.set_queue("create", messages={"visible": 3}, oldest_age_seconds=None)
    age = collector.get_sample_value("bloomweaver_queue_oldest_message_age_seconds", {"queue": "create"})
    assert math.isnan(age)
