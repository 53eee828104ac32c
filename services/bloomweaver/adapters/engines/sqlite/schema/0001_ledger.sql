-- Registry, ledger and history. docs/concepts/ledger.md says why each table is as it is.
-- Integers name documents (did) and collections (cid) inside; a revision's primary key is its seq, which is never used twice.

CREATE TABLE deployment (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    name TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    counter INTEGER NOT NULL,
    flips INTEGER NOT NULL
);
INSERT INTO deployment VALUES (1, '', 1, 0, 0);

CREATE TABLE tenant (name TEXT PRIMARY KEY, created_at REAL NOT NULL) WITHOUT ROWID;

-- A collection and its generation. Pipelines are JSON; *_cursor are document ids of scans under way, NULL where none is.
CREATE TABLE collection (
    cid INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    ordering TEXT NOT NULL,
    description TEXT NOT NULL,
    created_at REAL NOT NULL,
    deleted_at REAL,
    epoch INTEGER NOT NULL,
    active TEXT NOT NULL,
    building TEXT,
    previous TEXT,
    previous_until REAL,
    backfill_cursor TEXT,
    backfilled_at REAL,
    bury_cursor TEXT,
    swept_began_at REAL
);
CREATE UNIQUE INDEX collection_name ON collection (tenant, name) WHERE deleted_at IS NULL;
CREATE INDEX collection_backfill ON collection (cid) WHERE backfill_cursor IS NOT NULL;
CREATE INDEX collection_bury ON collection (cid) WHERE bury_cursor IS NOT NULL;

-- Every pipeline that the collection ever had a namespace for, and the highest position confirmed in it.
CREATE TABLE namespace (cid INTEGER NOT NULL, pipe TEXT NOT NULL, position INTEGER, PRIMARY KEY (cid, pipe)) WITHOUT ROWID;

CREATE TABLE tally (cid INTEGER NOT NULL, state TEXT NOT NULL, documents INTEGER NOT NULL, PRIMARY KEY (cid, state)) WITHOUT ROWID;

-- lane and due_at: which queue the document waits for, and when the reconciler looks at it; NULL where nothing is to do.
-- litter_at: when something of it may be garbage. flip: the deployment's flip counter when `live` last changed.
CREATE TABLE document (
    did INTEGER PRIMARY KEY,
    cid INTEGER NOT NULL,
    doc TEXT NOT NULL,
    seq INTEGER NOT NULL,
    src INTEGER NOT NULL,
    fsrc INTEGER NOT NULL,
    tomb INTEGER NOT NULL,
    live INTEGER NOT NULL,
    content_hash TEXT NOT NULL,
    meta_hash TEXT NOT NULL,
    started INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    next_try REAL,
    reason TEXT,
    detail TEXT NOT NULL,
    failed INTEGER NOT NULL,
    first_failure_at REAL,
    last_failure_at REAL,
    accepted_at REAL NOT NULL,
    hinted_at REAL,
    hints INTEGER NOT NULL,
    shown_at REAL,
    state TEXT NOT NULL,
    flip INTEGER NOT NULL DEFAULT 0,
    lane TEXT,
    due_at REAL,
    litter_at REAL,
    gone_at REAL
);
CREATE UNIQUE INDEX document_id ON document (cid, doc);
CREATE INDEX document_due ON document (lane, due_at) WHERE lane IS NOT NULL;
-- The states pending, indexing and updating. Not written as a list: SQLite builds a table of it for every insert.
CREATE INDEX document_pending ON document (cid, accepted_at) WHERE live <> seq AND NOT tomb AND NOT failed;
CREATE INDEX document_failed ON document (cid, doc) WHERE state = 'failed';
CREATE INDEX document_litter ON document (litter_at) WHERE litter_at IS NOT NULL;

CREATE TRIGGER document_born AFTER INSERT ON document BEGIN
    INSERT INTO tally VALUES (new.cid, new.state, 1) ON CONFLICT DO UPDATE SET documents = documents + 1;
END;
CREATE TRIGGER document_moved AFTER UPDATE OF state ON document WHEN old.state <> new.state BEGIN
    UPDATE tally SET documents = documents - 1 WHERE cid = old.cid AND state = old.state;
    INSERT INTO tally VALUES (new.cid, new.state, 1) ON CONFLICT DO UPDATE SET documents = documents + 1;
END;
CREATE TRIGGER document_purged AFTER DELETE ON document BEGIN
    UPDATE tally SET documents = documents - 1 WHERE cid = old.cid AND state = old.state;
END;

-- What was sent. media_type is NULL for a tombstone.
CREATE TABLE revision (
    seq INTEGER PRIMARY KEY,
    did INTEGER NOT NULL,
    src INTEGER NOT NULL,
    media_type TEXT,
    content_hash TEXT,
    size_bytes INTEGER,
    blob TEXT,
    title TEXT,
    url TEXT,
    metadata TEXT,
    origin TEXT NOT NULL,
    actor TEXT NOT NULL,
    request_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    occurred_at TEXT,
    accepted_at REAL NOT NULL,
    tokens INTEGER,
    text TEXT
);
CREATE INDEX revision_document ON revision (did, seq);
CREATE INDEX revision_blob ON revision (blob) WHERE blob IS NOT NULL;

-- What was built from it. remove_at: when its vectors are to be removed, where it is dead.
CREATE TABLE version (
    did INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    pipe TEXT NOT NULL,
    build TEXT NOT NULL,
    n_chunks INTEGER NOT NULL,
    state TEXT NOT NULL,
    since REAL NOT NULL,
    content_hash TEXT NOT NULL,
    removals INTEGER NOT NULL,
    tokens_embedded INTEGER NOT NULL,
    tokens_reused INTEGER NOT NULL,
    remove_at REAL,
    PRIMARY KEY (did, seq, pipe)
) WITHOUT ROWID;
CREATE INDEX version_removal ON version (remove_at) WHERE remove_at IS NOT NULL;

-- A build's chunks have the ids bid << 20 | index: one range, in order, appended.
CREATE TABLE build (
    bid INTEGER PRIMARY KEY,
    did INTEGER NOT NULL,
    pipe TEXT NOT NULL,
    build TEXT NOT NULL
);
CREATE UNIQUE INDEX build_name ON build (did, pipe, build);
CREATE INDEX build_blob ON build (build);

CREATE TABLE chunk (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    hash TEXT NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    heading TEXT,
    page INTEGER,
    text TEXT NOT NULL
);

-- The inbox (R2).
CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    cid INTEGER NOT NULL,
    source TEXT NOT NULL,
    event_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    doc TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT,
    seq INTEGER NOT NULL,
    actor TEXT NOT NULL,
    at REAL NOT NULL,
    batch_id TEXT
);
CREATE UNIQUE INDEX event_identity ON event (cid, source, event_id);
CREATE INDEX event_batch ON event (batch_id, cid) WHERE batch_id IS NOT NULL;

-- The timeline behind `why`.
CREATE TABLE step (
    id INTEGER PRIMARY KEY,
    did INTEGER NOT NULL,
    at REAL NOT NULL,
    seq INTEGER NOT NULL,
    pipe TEXT NOT NULL,
    step TEXT NOT NULL,
    reason TEXT,
    detail TEXT NOT NULL,
    actor TEXT NOT NULL,
    request_id TEXT NOT NULL
);
CREATE INDEX step_document ON step (did, id);

CREATE TABLE api_key (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    hash TEXT NOT NULL,
    verbs TEXT NOT NULL,
    collections TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL,
    filter TEXT
) WITHOUT ROWID;
CREATE INDEX api_key_tenant ON api_key (tenant, created_at);

CREATE TABLE source (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    ingest_id TEXT NOT NULL UNIQUE,
    collection TEXT NOT NULL,
    tolerance_seconds INTEGER NOT NULL,
    secrets TEXT NOT NULL,
    filter TEXT,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;
