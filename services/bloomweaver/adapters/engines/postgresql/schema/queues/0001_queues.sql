-- Hints, until they are acked. docs/reference/backends/postgresql.md says how they are handed out.
-- due: when the hint is visible (again). first_due: when it first was, what its age counts from.
-- A receipt names an id and a count of receives: no id is ever used twice.
-- Rows come, move twice and go: they need room on their page, and the vacuum often.
CREATE TABLE hint (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue text COLLATE "C" NOT NULL,
    due float8 NOT NULL,
    first_due float8 NOT NULL,
    receives integer NOT NULL DEFAULT 0,
    leased boolean NOT NULL DEFAULT false,
    dead boolean NOT NULL DEFAULT false,
    message text NOT NULL
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 500,
    autovacuum_analyze_scale_factor = 0.1
);
CREATE INDEX hint_due ON hint (queue, due) WHERE NOT dead;
CREATE INDEX hint_dead ON hint (queue, due) WHERE dead;
