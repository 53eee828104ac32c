"""The one enum of reasons: of log field, metric label, dead letter, problem, timeline step and resource condition.

Values are snake_case; conditions of Kubernetes resources show the mechanical CamelCase form (`camel`). A reason never
carries data: the sentence beside it does.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why something was refused, waits, failed, or is as it is."""

    # What a client sent (HTTP problems and rejected items)
    MALFORMED_JSON = "malformed_json"
    INVALID_REQUEST = "invalid_request"
    INVALID_CURSOR = "invalid_cursor"
    INVALID_DOCUMENT_ID = "invalid_document_id"
    INVALID_COLLECTION_NAME = "invalid_collection_name"
    INVALID_METADATA = "invalid_metadata"
    INVALID_FILTER = "invalid_filter"
    EMPTY_TEXT = "empty_text"
    TOO_LARGE = "too_large"
    TOO_MANY_ITEMS = "too_many_items"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    SOURCE_VERSION_REQUIRED = "source_version_required"
    SOURCE_VERSION_REFUSED = "source_version_refused"
    EVENT_ID_REUSED = "event_id_reused"
    EVENT_IN_PROGRESS = "event_in_progress"
    PRECONDITION_FAILED = "precondition_failed"
    ORDERING_FIXED = "ordering_fixed"
    CONFIRMATION_REQUIRED = "confirmation_required"
    REINDEX_CONFLICT = "reindex_conflict"
    LAST_ADMIN_KEY = "last_admin_key"
    ALREADY_EXISTS = "already_exists"
    MIN_SCORE_NEEDS_ONE_SPACE = "min_score_needs_one_space"

    # Who may and what exists
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    INVALID_SIGNATURE = "invalid_signature"
    NOT_FOUND = "not_found"
    COLLECTION_NOT_FOUND = "collection_not_found"
    DOCUMENT_NOT_FOUND = "document_not_found"
    DOCUMENT_DELETED = "document_deleted"
    EVENT_NOT_FOUND = "event_not_found"
    BATCH_NOT_FOUND = "batch_not_found"
    MODEL_NOT_FOUND = "model_not_found"
    KEY_NOT_FOUND = "key_not_found"
    SOURCE_NOT_FOUND = "source_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"

    # The service itself
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    LEDGER_UNAVAILABLE = "ledger_unavailable"
    QUEUE_UNAVAILABLE = "queue_unavailable"
    BLOBS_UNAVAILABLE = "blobs_unavailable"
    VECTORS_UNAVAILABLE = "vectors_unavailable"
    EMBEDDER_UNAVAILABLE = "embedder_unavailable"
    SEARCH_CONFLICT = "search_conflict"
    DISK_FULL = "disk_full"
    SHUTTING_DOWN = "shutting_down"
    INTERNAL_ERROR = "internal_error"

    # Why a document waits, or what became of it
    QUEUED = "queued"
    WAITING_FOR_EMBEDDER = "waiting_for_embedder"
    WAITING_FOR_WRITER = "waiting_for_writer"
    WAITING_FOR_STORE = "waiting_for_store"
    RETRY_SCHEDULED = "retry_scheduled"
    THROTTLED = "throttled"
    PIPELINE_UNAVAILABLE = "pipeline_unavailable"
    NO_TEXT = "no_text"
    OLDER_THAN_CURRENT = "older_than_current"
    EQUAL_SOURCE_VERSION = "equal_source_version"
    DELETED_BY_CLIENT = "deleted_by_client"
    REPLACED = "replaced"
    REINDEXED = "reindexed"
    REDRIVEN = "redriven"
    SWEPT = "swept"
    SWEEP_REFUSED = "sweep_refused"

    # Why a document failed
    UNPARSABLE = "unparsable"
    TEXT_TOO_LONG = "text_too_long"
    BLOB_MISSING = "blob_missing"
    EMBEDDING_FAILED = "embedding_failed"
    INVALID_VECTOR = "invalid_vector"
    STORE_REFUSED = "store_refused"
    READER_CRASHED = "reader_crashed"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"

    # Why a process stopped receiving
    MODEL_NOT_USABLE = "model_not_usable"
    MODEL_HASH_MISMATCH = "model_hash_mismatch"
    DIMENSION_MISMATCH = "dimension_mismatch"
    CREDENTIALS_REFUSED = "credentials_refused"
    SCHEMA_TOO_NEW = "schema_too_new"
    SCHEMA_TOO_OLD = "schema_too_old"
    DATABASE_LOCKED = "database_locked"
    INVALID_CONFIGURATION = "invalid_configuration"
    PORT_IN_USE = "port_in_use"

    @property
    def camel(self) -> str:
        """The form that conditions of resources show, e.g. `BlobMissing`."""
        return "".join(part.capitalize() for part in self.value.split("_"))
