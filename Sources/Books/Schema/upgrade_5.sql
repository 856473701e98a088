-- Number 5: numbers are written down, functions belong to a number, and internal ones live in the schema tidemark_internal.
-- The first two columns were added by some programs of number 4 already.

ALTER TABLE tidemark.node
    ADD COLUMN IF NOT EXISTS shards        text[],
    ADD COLUMN IF NOT EXISTS schema_number integer;

ALTER TABLE tidemark.shard ADD COLUMN IF NOT EXISTS first_position bigint;

ALTER TABLE tidemark.installation ADD COLUMN IF NOT EXISTS shape_hash text;
