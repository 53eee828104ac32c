-- Bytes under a key. They are not compressed: builds are vectors, files mostly are compressed already.
CREATE TABLE blob (
    key text COLLATE "C" PRIMARY KEY,
    put_at float8 NOT NULL,
    size_bytes bigint NOT NULL,
    data bytea NOT NULL
);
ALTER TABLE blob ALTER COLUMN data SET STORAGE EXTERNAL;
