"""Every metric of the project, in one place: names, labels, buckets. docs/reference/metrics.md lists them.

A `Metrics` is built once per process on a registry that it is given; who measures calls a method that says what
happened, so no other module knows Prometheus. Invariants: every label's values are few and known beforehand (enums,
route templates, models); no tenant, document, URL or key is ever a label; collections are capped.
"""

import math
from collections.abc import Mapping
from typing import Final

import prometheus_client
from prometheus_client import exposition, gc_collector, platform_collector, process_collector, registry

OTHER: Final = "other"
MAX_COLLECTIONS: Final = 50

_REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_FRESHNESS_BUCKETS: Final = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 14400)
_BYTES_BUCKETS: Final = (256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216)
_RATIO_BUCKETS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def process_registry() -> registry.CollectorRegistry:
    """A registry with the memory, CPU and garbage collection of this process in it."""
    made = registry.CollectorRegistry()
    process_collector.ProcessCollector(registry=made)
    platform_collector.PlatformCollector(registry=made)
    gc_collector.GCCollector(registry=made)
    return made


class Metrics:
    """The instruments. `collector_registry` is what `/metrics` shows; tests give an empty one."""

    def __init__(self, collector_registry: registry.CollectorRegistry, *, version: str) -> None:
        self._registry = collector_registry
        self._collections: set[str] = set()
        self._described: list[tuple[str, str, str, tuple[str, ...]]] = []
        self._requests: dict[tuple[str, str, int], prometheus_client.Histogram] = {}
        self._decided: dict[tuple[str, str], prometheus_client.Counter] = {}
        self._make_edge()
        self._make_pipeline()
        self._make_embedding()
        self._make_reading()
        self._make_controlling()
        build = prometheus_client.Info("bloomweaver_build", "The release that runs.", registry=self._registry)
        build.info({"version": version})

    def render(self, accept: str) -> tuple[bytes, str]:
        """The exposition in the format that the scraper asks for, and its content type."""
        encode, content_type = exposition.choose_encoder(accept)
        return encode(self._registry), content_type

    def described(self) -> list[tuple[str, str, str, tuple[str, ...]]]:
        """Name as scraped, meaning, type and labels of every metric: what the reference page shows."""
        return [("bloomweaver_build_info", "The release that runs.", "gauge", ("version",)), *self._described]

    # The front door

    def observe_request(self, method: str, route: str, *, status: int, seconds: float) -> None:
        """A request was answered. `route` is the template, never the path."""
        key = (method, route, status)
        child = self._requests.get(key)
        if child is None:
            child = self._requests[key] = self._request_duration.labels(method, route, str(status))
        child.observe(seconds)

    def count_refusal(self, reason: str) -> None:
        """A request ended with this reason."""
        self._refusals.labels(reason).inc()

    def count_rate_lease(self, outcome: str) -> None:
        """The cache was asked for turns of a key: `granted`, `empty` or `away`."""
        self._rate_leases.labels(outcome).inc()

    def count_event(self, op: str, outcome: str, *, size_bytes: int) -> None:
        """A change was decided: op is the change type, outcome one of the contract's or `rejected`."""
        child = self._decided.get((op, outcome))
        if child is None:
            child = self._decided[op, outcome] = self._events.labels(op, outcome)
        child.inc()
        self._event_bytes.observe(size_bytes)

    # Queues and stages

    def set_queue(self, queue: str, *, messages: Mapping[str, int], oldest_age_seconds: float | None) -> None:
        """A queue's depth by state (`visible`, `in_flight`, `delayed`, `dead`) and the age of its oldest message.

        An age that is not known is not a number, so that nobody takes it for a young one.
        """
        for state, count in messages.items():
            self._queue_messages.labels(queue, state).set(count)
        self._queue_age.labels(queue).set(math.nan if oldest_age_seconds is None else oldest_age_seconds)

    def count_receive(self, queue: str, outcome: str) -> None:
        """A delivery ended: `acked`, `retried`, `dead` or `superseded`."""
        self._receives.labels(queue, outcome).inc()

    def observe_stage(self, stage: str, outcome: str, *, seconds: float) -> None:
        """A stage worked on one document."""
        self._stage_duration.labels(stage, outcome).observe(seconds)

    def count_failure(self, stage: str, reason: str) -> None:
        """Work failed for this reason, whether it is tried again or not."""
        self._failures.labels(stage, reason).inc()

    def count_dead_letter(self, stage: str, reason: str) -> None:
        """A document was given up on."""
        self._dead_letters_total.labels(stage, reason).inc()

    def set_documents(self, counts: Mapping[str, int]) -> None:
        """Documents by state; `failed` is the number of dead letters that lie there."""
        for state, count in counts.items():
            self._documents.labels(state).set(count)

    # What a user feels

    def observe_freshness(self, op: str, collection: str, *, cold: bool, seconds: float) -> None:
        """A change became searchable (a delete: not found) `seconds` after it was accepted."""
        labels = (op, self._capped(collection), "true" if cold else "false")
        self._freshness.labels(*labels).observe(seconds)

    def set_oldest_pending(self, ages_seconds: Mapping[str, float]) -> None:
        """The age of the oldest change per collection that is not searchable yet; 0 where nothing waits."""
        oldest: dict[str, float] = {}
        for collection, age_seconds in ages_seconds.items():
            label = self._capped(collection)
            oldest[label] = max(oldest.get(label, 0.0), age_seconds)
        self._oldest_pending.clear()
        for label, age_seconds in oldest.items():
            self._oldest_pending.labels(label).set(age_seconds)

    def observe_search(self, phase: str, *, seconds: float) -> None:
        """One phase of a search: `embed`, `query`, `verify` or `total`."""
        self._search_duration.labels(phase).observe(seconds)

    def count_search(self, *, retries: int = 0, dropped_hits: int = 0) -> None:
        """How often a search ran again, and candidates that the ledger did not confirm."""
        self._search_retries.inc(retries)
        self._search_dropped.inc(dropped_hits)

    # Embedding

    def observe_batch(
        self,
        model: str,
        device: str,
        lane: str,
        *,
        chunks: int,
        tokens: int,
        padded: int,
        seconds: float,
        wait_seconds: float,
        peak_ratio: float | None = None,
    ) -> None:
        """One inference: its real tokens, those that padding made of them, and how long its oldest passage waited."""
        self._embed_tokens.labels(model, device, lane).inc(tokens)
        self._embed_padding.labels(model, lane).inc(padded - tokens)
        self._embed_chunks.labels(model, "miss").inc(chunks)
        self._embed_inference.labels(model, lane).observe(seconds)
        self._embed_batch.labels(model, lane).observe(chunks)
        self._embed_fill.labels(model, lane).observe(tokens / padded if padded else 1.0)
        self._embed_wait.labels(model, lane).observe(wait_seconds)
        if peak_ratio is not None:
            self._embed_peak.labels(model, lane).set(peak_ratio)

    def count_reused_chunks(self, model: str, chunks: int) -> None:
        """Chunks whose vectors were there already."""
        self._embed_chunks.labels(model, "hit").inc(chunks)

    def set_saturation(self, model: str, ratio: float) -> None:
        """The part of the time that the embedder was busy."""
        self._saturation.labels(model).set(ratio)

    # Stores and healing

    def observe_store(self, backend: str, op: str, *, outcome: str, seconds: float) -> None:
        """One call of a vector store."""
        self._store_duration.labels(backend, op, outcome).observe(seconds)

    def count_action(self, action: str, count: int = 1) -> None:
        """The reconciler did something: re-hinted, swept, removed, redrove…"""
        self._actions.labels(action).inc(count)

    def set_reindex(self, counts: Mapping[str, int]) -> None:
        """Documents of all running re-indexes by state: `total`, `done`, `failed`."""
        for state, count in counts.items():
            self._reindex.labels(state).set(count)

    # Kubernetes

    def observe_reconcile(self, outcome: str, *, seconds: float) -> None:
        """The controller looked at a resource: `done` or `failed`."""
        self._reconcile_duration.labels(outcome).observe(seconds)

    def set_controller_queue(self, resources: int, *, oldest_seconds: float) -> None:
        """Resources that wait to be looked at."""
        self._controller_queue.set(resources)
        self._controller_queue_age.set(oldest_seconds)

    def _capped(self, collection: str) -> str:
        if collection not in self._collections:
            if len(self._collections) >= MAX_COLLECTIONS:
                return OTHER
            self._collections.add(collection)
        return collection

    def _counter(self, name: str, text: str, *labels: str) -> prometheus_client.Counter:
        self._described.append((f"bloomweaver_{name}", text, "counter", labels))
        return prometheus_client.Counter(f"bloomweaver_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> prometheus_client.Gauge:
        self._described.append((f"bloomweaver_{name}", text, "gauge", labels))
        return prometheus_client.Gauge(f"bloomweaver_{name}", text, labels, registry=self._registry)

    def _histogram(
        self, name: str, text: str, *labels: str, buckets: tuple[float, ...] = _REQUEST_BUCKETS
    ) -> prometheus_client.Histogram:
        self._described.append((f"bloomweaver_{name}", text, "histogram", labels))
        return prometheus_client.Histogram(
            f"bloomweaver_{name}", text, labels, registry=self._registry, buckets=buckets
        )

    def _make_edge(self) -> None:
        self._request_duration = self._histogram(
            "http_request_duration_seconds", "HTTP requests by route template.", "method", "route", "code"
        )
        self._refusals = self._counter("http_refusals_total", "Requests that ended with a problem.", "reason")
        self._rate_leases = self._counter(
            "rate_leases_total", "Questions to the cache or the database for turns of a key.", "outcome"
        )
        self._events = self._counter("webhook_events_total", "Changes by what became of them.", "op", "outcome")
        self._event_bytes = self._histogram(
            "webhook_event_bytes", "Size of the text of a change.", buckets=_BYTES_BUCKETS
        )

    def _make_pipeline(self) -> None:
        self._queue_messages = self._gauge("queue_messages", "Messages in a queue.", "queue", "state")
        self._queue_age = self._gauge(
            "queue_oldest_message_age_seconds", "Age of the oldest visible message; NaN: not known.", "queue"
        )
        self._receives = self._counter("queue_receives_total", "Deliveries by how they ended.", "queue", "outcome")
        self._stage_duration = self._histogram(
            "stage_duration_seconds", "Time that a stage spent on a document.", "stage", "outcome"
        )
        self._failures = self._counter("failures_total", "Failed attempts, also those tried again.", "stage", "reason")
        self._dead_letters_total = self._counter(
            "dead_letters_total", "Documents that were given up on.", "stage", "reason"
        )
        self._documents = self._gauge("documents", "Documents by state; `failed` are the dead letters.", "state")
        self._actions = self._counter("reconciler_actions_total", "What the reconciler did.", "action")
        self._reindex = self._gauge("reindex_documents", "Documents of the running re-indexes.", "state")

    def _make_embedding(self) -> None:
        self._embed_tokens = self._counter(
            "embed_tokens_total", "Tokens embedded, without padding.", "model", "device", "lane"
        )
        self._embed_padding = self._counter(
            "embed_padding_tokens_total", "Tokens computed for nothing: padding.", "model", "lane"
        )
        self._embed_chunks = self._counter(
            "embed_chunks_total", "Chunks embedded (miss) or reused (hit).", "model", "cache"
        )
        self._embed_inference = self._histogram("embed_inference_seconds", "Time of one inference.", "model", "lane")
        self._embed_batch = self._histogram(
            "embed_batch_chunks", "Chunks per inference.", "model", "lane", buckets=_BATCH_BUCKETS
        )
        self._embed_fill = self._histogram(
            "embed_batch_fill_ratio", "Real tokens of padded tokens.", "model", "lane", buckets=_RATIO_BUCKETS
        )
        self._embed_wait = self._histogram(
            "embed_wait_seconds", "Wait of a batch's oldest passage for its inference.", "model", "lane"
        )
        self._embed_peak = self._gauge(
            "embed_peak_ratio", "Speed beside the runtime's bare matrix multiplication.", "model", "lane"
        )
        self._saturation = self._gauge("embedder_saturation_ratio", "Busy time of an embedder.", "model")

    def _make_controlling(self) -> None:
        self._reconcile_duration = self._histogram(
            "controller_reconcile_seconds", "Looks at a resource, by how they ended.", "outcome"
        )
        self._controller_queue = self._gauge("controller_queue_resources", "Resources that wait to be looked at.")
        self._controller_queue_age = self._gauge(
            "controller_queue_oldest_age_seconds", "How long the oldest of them has waited."
        )

    def _make_reading(self) -> None:
        self._freshness = self._histogram(
            "freshness_seconds",
            "From accepted to searchable (a delete: to not found).",
            "op",
            "collection",
            "cold",
            buckets=_FRESHNESS_BUCKETS,
        )
        self._oldest_pending = self._gauge(
            "oldest_unsearchable_age_seconds", "Age of the oldest change that is not searchable.", "collection"
        )
        self._search_duration = self._histogram("search_duration_seconds", "Phases of a search.", "phase")
        self._search_retries = self._counter("search_retries_total", "Searches run again because documents changed.")
        self._search_dropped = self._counter("search_dropped_hits_total", "Candidates that the ledger did not confirm.")
        self._store_duration = self._histogram(
            "vectorstore_request_duration_seconds", "Calls of a vector store.", "backend", "op", "outcome"
        )
