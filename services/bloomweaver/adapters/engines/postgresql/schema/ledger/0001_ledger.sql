-- Registry, ledger and history. docs/concepts/ledger.md says why each table is as it is.
-- Numbers name documents (did) and collections (cid) inside. Texts that are compared have the collation "C": the order
-- of their bytes, on every server.

CREATE TABLE deployment (
    one integer PRIMARY KEY CHECK (one = 1),
    name text NOT NULL,
    epoch bigint NOT NULL
);
INSERT INTO deployment VALUES (1, '', 1);

-- The lower part of every seq. It goes on over epochs: a number is never given twice.
CREATE SEQUENCE seq_counter;

CREATE TABLE tenant (name text COLLATE "C" PRIMARY KEY, created_at float8 NOT NULL);

-- A collection and its generation. Pipelines are JSON; *_cursor are document ids of scans under way, NULL where none is.
CREATE TABLE collection (
    cid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uid text COLLATE "C" NOT NULL UNIQUE,
    tenant text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    ordering text NOT NULL,
    description text NOT NULL,
    created_at float8 NOT NULL,
    deleted_at float8,
    epoch bigint NOT NULL,
    active text NOT NULL,
    building text,
    previous text,
    previous_until float8,
    backfill_cursor text COLLATE "C",
    backfilled_at float8,
    bury_cursor text COLLATE "C",
    swept_began_at float8
);
CREATE UNIQUE INDEX collection_name ON collection (tenant, name) WHERE deleted_at IS NULL;

-- Every pipeline that the collection ever had a namespace for, and the highest position confirmed in it.
CREATE TABLE namespace (cid bigint NOT NULL, pipe text COLLATE "C" NOT NULL, position bigint, PRIMARY KEY (cid, pipe));

-- Documents by state. Every server process counts on rows of its own (slot), so that commits do not wait for each other;
-- a count is their sum, and a single row may be below zero.
CREATE TABLE tally (
    cid bigint NOT NULL,
    state text COLLATE "C" NOT NULL,
    slot integer NOT NULL,
    documents bigint NOT NULL,
    PRIMARY KEY (cid, state, slot)
) WITH (fillfactor = 50);

-- lane and due_at: which queue the document waits for, and when the reconciler looks at it; NULL where nothing is to do.
-- litter_at: when something of it may be garbage. flipped_by: the transaction that changed `live` last.
CREATE TABLE document (
    did bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cid bigint NOT NULL,
    doc text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    src bigint NOT NULL,
    fsrc bigint NOT NULL,
    tomb boolean NOT NULL,
    live bigint NOT NULL,
    content_hash text NOT NULL,
    meta_hash text NOT NULL,
    started bigint NOT NULL,
    attempts integer NOT NULL,
    next_try float8,
    reason text,
    detail text NOT NULL,
    failed boolean NOT NULL,
    first_failure_at float8,
    last_failure_at float8,
    accepted_at float8 NOT NULL,
    hinted_at float8,
    hints integer NOT NULL,
    shown_at float8,
    state text COLLATE "C" NOT NULL,
    flipped_by xid8,
    lane text COLLATE "C",
    due_at float8,
    litter_at float8,
    gone_at float8
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX document_id ON document (cid, doc);
CREATE INDEX document_due ON document (lane, due_at) WHERE lane IS NOT NULL;
-- The states pending, indexing and updating.
CREATE INDEX document_pending ON document (cid, accepted_at) WHERE live <> seq AND NOT tomb AND NOT failed;
CREATE INDEX document_failed ON document (cid, doc) WHERE state = 'failed';
CREATE INDEX document_litter ON document (litter_at) WHERE litter_at IS NOT NULL;

CREATE FUNCTION document_tallied() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO tally
            SELECT cid, state, pg_backend_pid() % 256, count(*) FROM born GROUP BY cid, state ORDER BY cid, state
            ON CONFLICT (cid, state, slot) DO UPDATE SET documents = tally.documents + excluded.documents;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO tally
            SELECT cid, state, pg_backend_pid() % 256, sum(n)
            FROM (SELECT cid, state, -1 AS n FROM died UNION ALL SELECT cid, state, 1 FROM born) moved
            GROUP BY cid, state HAVING sum(n) <> 0 ORDER BY cid, state
            ON CONFLICT (cid, state, slot) DO UPDATE SET documents = tally.documents + excluded.documents;
    ELSE
        INSERT INTO tally
            SELECT cid, state, pg_backend_pid() % 256, -count(*) FROM died GROUP BY cid, state ORDER BY cid, state
            ON CONFLICT (cid, state, slot) DO UPDATE SET documents = tally.documents + excluded.documents;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER document_born AFTER INSERT ON document
    REFERENCING NEW TABLE AS born FOR EACH STATEMENT EXECUTE FUNCTION document_tallied();
CREATE TRIGGER document_moved AFTER UPDATE ON document
    REFERENCING OLD TABLE AS died NEW TABLE AS born FOR EACH STATEMENT EXECUTE FUNCTION document_tallied();
CREATE TRIGGER document_purged AFTER DELETE ON document
    REFERENCING OLD TABLE AS died FOR EACH STATEMENT EXECUTE FUNCTION document_tallied();

-- What was sent. media_type is NULL for a tombstone.
CREATE TABLE revision (
    seq bigint PRIMARY KEY,
    did bigint NOT NULL,
    src bigint NOT NULL,
    media_type text,
    content_hash text,
    size_bytes bigint,
    blob text COLLATE "C",
    title text,
    url text,
    metadata text,
    origin text NOT NULL,
    actor text NOT NULL,
    request_id text NOT NULL,
    event_id text NOT NULL,
    occurred_at text,
    accepted_at float8 NOT NULL,
    tokens bigint,
    text text
);
CREATE INDEX revision_document ON revision (did, seq);
CREATE INDEX revision_blob ON revision (blob) WHERE blob IS NOT NULL;

-- What was built from it. remove_at: when its vectors are to be removed, where it is dead.
CREATE TABLE version (
    did bigint NOT NULL,
    seq bigint NOT NULL,
    pipe text COLLATE "C" NOT NULL,
    build text COLLATE "C" NOT NULL,
    n_chunks integer NOT NULL,
    state text COLLATE "C" NOT NULL,
    since float8 NOT NULL,
    content_hash text NOT NULL,
    removals integer NOT NULL,
    tokens_embedded bigint NOT NULL,
    tokens_reused bigint NOT NULL,
    remove_at float8,
    PRIMARY KEY (did, seq, pipe)
) WITH (fillfactor = 80);
CREATE INDEX version_removal ON version (remove_at) WHERE remove_at IS NOT NULL;

CREATE TABLE build (
    bid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    did bigint NOT NULL,
    pipe text COLLATE "C" NOT NULL,
    build text COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX build_name ON build (did, pipe, build);
CREATE INDEX build_blob ON build (build);

CREATE TABLE chunk (
    bid bigint NOT NULL,
    index integer NOT NULL,
    kind text NOT NULL,
    hash text NOT NULL,
    start integer NOT NULL,
    "end" integer NOT NULL,
    heading text,
    page integer,
    text text NOT NULL,
    PRIMARY KEY (bid, index)
);

-- The inbox (R2). Its age is found by blocks: rows come in the order of their time.
CREATE TABLE event (
    cid bigint NOT NULL,
    source text COLLATE "C" NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    fingerprint text NOT NULL,
    doc text COLLATE "C" NOT NULL,
    outcome text NOT NULL,
    reason text,
    seq bigint NOT NULL,
    actor text NOT NULL,
    at float8 NOT NULL,
    batch_id text COLLATE "C"
);
CREATE UNIQUE INDEX event_identity ON event (cid, source, event_id);
CREATE INDEX event_batch ON event (batch_id, cid) WHERE batch_id IS NOT NULL;
CREATE INDEX event_at ON event USING brin (at) WITH (autosummarize = on);

-- The timeline behind `why`.
CREATE TABLE step (
    did bigint NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    at float8 NOT NULL,
    seq bigint NOT NULL,
    pipe text NOT NULL,
    step text NOT NULL,
    reason text,
    detail text NOT NULL,
    actor text NOT NULL,
    request_id text NOT NULL,
    PRIMARY KEY (did, id)
);
CREATE INDEX step_at ON step USING brin (at) WITH (autosummarize = on);

CREATE TABLE api_key (
    id text COLLATE "C" PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    name text NOT NULL,
    hash text NOT NULL,
    verbs text NOT NULL,
    collections text NOT NULL,
    created_at float8 NOT NULL,
    expires_at float8,
    filter text
);
CREATE INDEX api_key_tenant ON api_key (tenant, created_at);

CREATE TABLE source (
    tenant text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    ingest_id text COLLATE "C" NOT NULL UNIQUE,
    collection text COLLATE "C" NOT NULL,
    tolerance_seconds integer NOT NULL,
    secrets text NOT NULL,
    filter text,
    PRIMARY KEY (tenant, name)
);
