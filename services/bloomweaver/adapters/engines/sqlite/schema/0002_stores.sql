-- Queues and vectors beside the ledger. Documented in docs/reference/backends.md.

-- due: when the hint is visible (again). first_due: when it first was, what its age counts from.
-- AUTOINCREMENT: a receipt names an id, which therefore must never come back.
CREATE TABLE hint (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    dead INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL,
    leased INTEGER NOT NULL DEFAULT 0,
    first_due REAL NOT NULL,
    receives INTEGER NOT NULL DEFAULT 0,
    message TEXT NOT NULL
);

-- Holds all that depths() counts.
CREATE INDEX hint_due ON hint (queue, dead, due, leased, first_due);

-- Counts the writes of all namespaces: what a reader has seen, and what it has not, is told by it.
CREATE TABLE vector_position (position INTEGER NOT NULL);

INSERT INTO vector_position VALUES (0);

-- changed: the position of the namespace's newest write.
CREATE TABLE vector_namespace (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    dimension INTEGER NOT NULL,
    changed INTEGER NOT NULL
);

-- embedding stands last: who wants only what stands before it does not read it. fp32, little endian.
CREATE TABLE vector (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    id TEXT NOT NULL,
    document_id TEXT NOT NULL,
    metadata TEXT NOT NULL,
    embedding BLOB NOT NULL
);

CREATE UNIQUE INDEX vector_id ON vector (namespace, id);

CREATE INDEX vector_changed ON vector (namespace, changed);

-- The rows that went lately, so that a reader's matrix can follow without being read anew.
CREATE TABLE vector_removed (
    namespace INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    row INTEGER NOT NULL,
    PRIMARY KEY (namespace, changed, row)
) WITHOUT ROWID;
