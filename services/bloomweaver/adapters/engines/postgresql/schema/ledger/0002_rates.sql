-- Turns that keys have taken, one row per key (docs/decisions/0015). It is written without a log, because a crash may
-- forget it: a bucket without a row is full.
CREATE UNLOGGED TABLE rate (
    key text COLLATE "C" PRIMARY KEY,
    at double precision NOT NULL,      -- when it was asked last
    due double precision NOT NULL,     -- when the bucket is full again
    granted integer NOT NULL,          -- what was given then
    there integer NOT NULL             -- of so many
) WITH (fillfactor = 50);
