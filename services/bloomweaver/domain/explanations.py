"""What every reason means and what a person does about it: the pages under /docs/reasons and docs/reference/reasons.md.

Invariant: every reason has its two sentences, in the tone of a colleague who knows the answer; a test counts them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bloomweaver.domain.reasons import Reason


@dataclass(frozen=True, slots=True)
class Explanation:
    """meaning: what is the case. next: what to do, or that nothing has to be done."""

    meaning: str
    next: str


def of(reason: Reason) -> Explanation:
    """The explanation of a reason."""
    meaning, following = _TEXTS[reason]
    return Explanation(meaning, following)


_WAIT: Final = "Nothing has to be done: it goes on by itself."
_RETRY: Final = "Try again after the seconds in Retry-After; nothing was lost."
_RESTART: Final = "Correct what the detail names and start the process again; documents wait meanwhile, none is failed."

_TEXTS: Final[Mapping[Reason, tuple[str, str]]] = {
    Reason.MALFORMED_JSON: (
        "The body is not strict JSON: bad syntax, a duplicate key, NaN, broken UTF-8, a lone surrogate or too deep.",
        "Send what a standard JSON encoder writes, in UTF-8; the detail says where reading stopped.",
    ),
    Reason.INVALID_REQUEST: (
        "A field is missing, unknown, or not of the type or range that is allowed.",
        "Correct the fields that `errors` points to.",
    ),
    Reason.INVALID_CURSOR: (
        "The cursor was not made by this list.",
        "Start again without a cursor and send back each `next_cursor` unchanged.",
    ),
    Reason.INVALID_DOCUMENT_ID: (
        "A document id is 1 to 512 bytes of UTF-8, without control characters and without '.' or '..' as a segment.",
        "Choose another id; encode slashes as %2F in paths.",
    ),
    Reason.INVALID_COLLECTION_NAME: (
        "A collection name is a letter a-z or digit, then up to 62 of a-z, 0-9, '.', '_' and '-'.",
        "Choose another name.",
    ),
    Reason.INVALID_METADATA: (
        "Metadata is flat: strings, numbers, booleans or lists of strings; at most 64 keys and 16 kB.",
        "Correct the field that `errors` points to.",
    ),
    Reason.INVALID_FILTER: (
        "The filter uses an operator, a value or a depth that filters do not have.",
        "Correct the place that `errors` points to; docs/reference/filters.md lists the operators.",
    ),
    Reason.EMPTY_TEXT: (
        "The text is empty or only white space, so there would be nothing to find.",
        "Send text, or send a delete if the document is meant to go.",
    ),
    Reason.TOO_LARGE: (
        "The body or the text is over the limit.",
        "Split the call or the document; large and binary content goes through uploads.",
    ),
    Reason.TOO_MANY_ITEMS: ("One call takes at most 1,000 items.", "Send several calls."),
    Reason.UNSUPPORTED_MEDIA_TYPE: (
        "The Content-Type or the document's media type is missing or not one that is read here.",
        "Send one of the types that the detail lists.",
    ),
    Reason.UNSUPPORTED_ENCODING: (
        "The body has a Content-Encoding; compressed bodies are not accepted.",
        "Send the body as it is.",
    ),
    Reason.SOURCE_VERSION_REQUIRED: (
        "The collection orders changes by the source's version, and the change has none.",
        "Send `source_version` with every change.",
    ),
    Reason.SOURCE_VERSION_REFUSED: (
        "The collection orders changes by arrival, so a source version would be ignored.",
        "Leave `source_version` out, or use a collection with `ordering: source`.",
    ),
    Reason.EVENT_ID_REUSED: (
        "This event id came before with other content; an id stands for one change.",
        "Give every change an id of its own.",
    ),
    Reason.EVENT_IN_PROGRESS: (
        "The same event arrived on another connection and is being decided.",
        "Send it again in a second: the answer will be the stored one.",
    ),
    Reason.PRECONDITION_FAILED: (
        "The document is not in the state that If-Match or If-None-Match asks for.",
        "Read the document, decide again, and send its current ETag.",
    ),
    Reason.ORDERING_FIXED: (
        "How a collection orders changes cannot be changed after it was made.",
        "Make another collection and send the documents there.",
    ),
    Reason.CONFIRMATION_REQUIRED: (
        "The call removes much and wants to hear the name again.",
        "Repeat it with ?confirm= and the name of the collection.",
    ),
    Reason.REINDEX_CONFLICT: (
        "No re-index is in a state in which this step is possible, or another call came first.",
        "Look at the re-index of the collection and decide again.",
    ),
    Reason.LAST_ADMIN_KEY: (
        "This is the tenant's last key with the verb admin; without it nobody could make another.",
        "Make a new admin key first.",
    ),
    Reason.ALREADY_EXISTS: ("What was to be made exists already.", "Use it, or choose another name."),
    Reason.MIN_SCORE_NEEDS_ONE_SPACE: (
        "Scores of different embedding models cannot be compared, so a minimum makes no sense across them.",
        "Search collections of one model, or leave `min_score` out.",
    ),
    Reason.UNAUTHENTICATED: (
        "There is no valid API key: none was sent, it is wrong, it has ended, or it was revoked.",
        "Send 'Authorization: Bearer bw_…' with a valid key.",
    ),
    Reason.FORBIDDEN: ("The key is valid but lacks the verb.", "Use a key that has it, or ask an admin for one."),
    Reason.INVALID_SIGNATURE: (
        "The request is not signed by this source, or its clock is off.",
        "Check the secret, the clock, and that the raw body is signed; docs/howto/signed-sources.md has an example.",
    ),
    Reason.NOT_FOUND: ("No route has this path.", "Look at /docs; encode slashes in ids as %2F."),
    Reason.COLLECTION_NOT_FOUND: (
        "The collection does not exist, or not for this key.",
        "Make it first with PUT /v1/collections/{name}, or use a key that sees it.",
    ),
    Reason.DOCUMENT_NOT_FOUND: ("There is no such document in the collection.", "Check the id; it is case-sensitive."),
    Reason.DOCUMENT_DELETED: ("The document was deleted.", "Send it again with PUT or an event to bring it back."),
    Reason.EVENT_NOT_FOUND: (
        "No event with this id is remembered; they are kept for 7 days.",
        "Look at the document itself.",
    ),
    Reason.BATCH_NOT_FOUND: ("No event carried this batch id.", "Check the `batch_id` that was sent."),
    Reason.MODEL_NOT_FOUND: ("No embedding model has this name.", "GET /v1/models lists those that there are."),
    Reason.KEY_NOT_FOUND: ("There is no such key.", "GET /v1/keys lists those that there are."),
    Reason.SOURCE_NOT_FOUND: ("There is no such source.", "Make it with PUT /v1/sources/{name}."),
    Reason.METHOD_NOT_ALLOWED: ("The path exists, with other methods.", "The Allow header lists them."),
    Reason.REQUEST_TIMEOUT: ("The body stopped arriving.", "Send it again, in smaller calls on a slow line."),
    Reason.RATE_LIMITED: ("The tenant's rate is used up.", _RETRY),
    Reason.OVERLOADED: ("The server has as much at hand as it can take.", _RETRY),
    Reason.LEDGER_UNAVAILABLE: ("The database that holds the truth does not answer.", _RETRY),
    Reason.QUEUE_UNAVAILABLE: ("The queue does not answer; accepted changes are re-hinted from the ledger.", _RETRY),
    Reason.BLOBS_UNAVAILABLE: ("The blob store does not answer.", _RETRY),
    Reason.VECTORS_UNAVAILABLE: ("The vector store does not answer.", _RETRY),
    Reason.EMBEDDER_UNAVAILABLE: ("The embedding model does not answer.", _RETRY),
    Reason.SEARCH_CONFLICT: ("Documents kept changing while the search ran.", _RETRY),
    Reason.DISK_FULL: (
        "The disk is full, so nothing can be accepted.",
        "Free space; then everything goes on by itself.",
    ),
    Reason.SHUTTING_DOWN: ("This process is ending.", _RETRY),
    Reason.INTERNAL_ERROR: (
        "Something happened that nobody foresaw.",
        "Report it with the X-Request-Id; the server's log has the cause under it.",
    ),
    Reason.QUEUED: ("The change is accepted and waits for its turn.", _WAIT),
    Reason.WAITING_FOR_EMBEDDER: ("The text waits to be embedded; embedders may be starting.", _WAIT),
    Reason.WAITING_FOR_WRITER: ("The vectors are made and wait to be written.", _WAIT),
    Reason.WAITING_FOR_STORE: ("The vectors are written; the store does not show all of them yet.", _WAIT),
    Reason.RETRY_SCHEDULED: ("An attempt failed and the next one has its time.", _WAIT),
    Reason.THROTTLED: ("A dependency asked for patience. This does not count as an attempt.", _WAIT),
    Reason.PIPELINE_UNAVAILABLE: (
        "No worker that is running can do this collection's model, chunking and revision.",
        "Start a worker of that model; during an upgrade wait until the new ones are up.",
    ),
    Reason.NO_TEXT: ("The document has no text that could be found; it is kept and has no chunks.", _WAIT),
    Reason.OLDER_THAN_CURRENT: (
        "A newer version of the document was accepted before.",
        "Nothing has to be done if changes overtook each other; else check the source version.",
    ),
    Reason.EQUAL_SOURCE_VERSION: (
        "Other content came under the source version that the document has.",
        "Raise the source version with every change.",
    ),
    Reason.DELETED_BY_CLIENT: ("A client deleted the document.", _WAIT),
    Reason.REPLACED: ("A newer version took its place.", _WAIT),
    Reason.REINDEXED: ("The collection's model or chunking changed and this was built anew.", _WAIT),
    Reason.REDRIVEN: ("Somebody sent the failed document on its way again.", _WAIT),
    Reason.SWEPT: ("Vectors that belong to no version were removed.", _WAIT),
    Reason.SWEEP_REFUSED: (
        "A sweep would have removed unusually many vectors, and stopped.",
        "Find out why (a restored ledger?), then run `bloomweaver audit`, with --force if it is right.",
    ),
    Reason.UNPARSABLE: ("The content is not what its media type says.", "Send it with the right type, or corrected."),
    Reason.TEXT_TOO_LONG: ("The text is longer than the model reads at once.", "Shorten it, or use another model."),
    Reason.BLOB_MISSING: ("The stored content is not there any more.", "Send the document again."),
    Reason.EMBEDDING_FAILED: (
        "The model failed on this text again and again.",
        "Look at the detail; send it corrected.",
    ),
    Reason.INVALID_VECTOR: ("The model gave something that is not a vector.", "Look at the detail; send it corrected."),
    Reason.STORE_REFUSED: (
        "The vector store refused this document.",
        "Look at the detail; often metadata is at fault.",
    ),
    Reason.READER_CRASHED: (
        "Workers that took this document went away without an answer, time and again.",
        "Look for out-of-memory kills; send the document in parts, then redrive it.",
    ),
    Reason.ATTEMPTS_EXHAUSTED: ("Every attempt failed.", "Remove the cause in the detail, then redrive the document."),
    Reason.MODEL_NOT_USABLE: ("The model's files are missing, damaged, or of a kind that is not known.", _RESTART),
    Reason.MODEL_HASH_MISMATCH: ("A model's file is not the one that was pinned.", _RESTART),
    Reason.DIMENSION_MISMATCH: ("The model's vectors and the index have different dimensions.", _RESTART),
    Reason.CREDENTIALS_REFUSED: ("A dependency refused the credentials of this process.", _RESTART),
    Reason.SCHEMA_TOO_NEW: (
        "The database belongs to a newer release.",
        "Start the newer release; never the older one.",
    ),
    Reason.SCHEMA_TOO_OLD: (
        "The database is not migrated to this release yet.",
        "Run bloomweaver migrate; services that wait for it start by themselves.",
    ),
    Reason.DATABASE_LOCKED: ("Another process holds the database.", "End it, or use another data folder."),
    Reason.INVALID_CONFIGURATION: ("A setting is missing or wrong.", _RESTART),
    Reason.PORT_IN_USE: (
        "Another process listens on the port.",
        "Choose another one with --port, or end that process.",
    ),
}
