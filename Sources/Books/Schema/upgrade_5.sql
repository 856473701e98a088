-- Number 5: the schema records its numbers, functions belong to a number, and internal functions have the schema tidemark_internal.
-- Some programs of number 4 have already added the first two columns.

ALTER TABLE tidemark.node
    ADD COLUMN IF NOT EXISTS shards        text[],
    ADD COLUMN IF NOT EXISTS schema_number integer;

ALTER TABLE tidemark.shard
    ADD COLUMN IF NOT EXISTS first_position bigint,
    ADD COLUMN IF NOT EXISTS obeyed_serial  bigint NOT NULL DEFAULT 0;

ALTER TABLE tidemark.high_water
    ADD COLUMN IF NOT EXISTS era            integer NOT NULL DEFAULT 1,
    ADD COLUMN IF NOT EXISTS witness_seq_id bigint,
    ADD COLUMN IF NOT EXISTS witness_place  text,
    ADD COLUMN IF NOT EXISTS witness_id     text,
    ADD COLUMN IF NOT EXISTS sequence_file  bigint;

ALTER TABLE tidemark.installation ADD COLUMN IF NOT EXISTS shape_hash text;

-- An identifier of more than 2,700 bytes did not fit.
DROP INDEX IF EXISTS tidemark.dead_letter_stream;
CREATE INDEX IF NOT EXISTS dead_letter_by_stream ON tidemark.dead_letter USING hash (stream_id);

ALTER TABLE tidemark.rebuild ADD COLUMN IF NOT EXISTS allows_fewer boolean NOT NULL DEFAULT false;

-- These shards ran before their tables were recorded.
INSERT INTO tidemark.filled_table (shard, name, relation, beside)
SELECT s.name, '', 0, 0 FROM tidemark.shard AS s WHERE s.fingerprint IS NULL AND s.node <> ''
    ON CONFLICT DO NOTHING;
