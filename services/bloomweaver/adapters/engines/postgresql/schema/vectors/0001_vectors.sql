-- Vectors, by pgvector. Every namespace has a table of its own, vectors_ID, made with its first upsert
-- (docs/decisions/0013 says why); its HNSW index vectors_ID_hnsw comes when scanning the table takes too long.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'vector') THEN
        CREATE EXTENSION vector SCHEMA public;
    END IF;
    IF (SELECT string_to_array(extversion, '.')::int[] < '{0,8}' FROM pg_extension WHERE extname = 'vector') THEN
        RAISE feature_not_supported USING MESSAGE = 'the extension vector is older than 0.8';
    END IF;
END $$;

CREATE TABLE vector_namespace (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    dimension integer NOT NULL
);

-- Counts writes. A writer takes its position after its commit, a reader looks before its snapshot.
CREATE SEQUENCE vector_position;
SELECT nextval('vector_position');
