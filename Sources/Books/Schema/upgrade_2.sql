-- Number 2: what operators want of a shard, and whether its definition has changed.
--
-- As in every upgrade, nothing is done twice: a table that was missing has been made in its newest form before this runs.

ALTER TABLE tidemark.shard
    ALTER COLUMN condition SET DEFAULT 'never run',
    ALTER COLUMN node SET DEFAULT '',
    ADD COLUMN IF NOT EXISTS desired        text        NOT NULL DEFAULT 'run' CHECK (desired IN ('run', 'pause', 'stop')),
    ADD COLUMN IF NOT EXISTS desired_until  timestamptz,
    ADD COLUMN IF NOT EXISTS desired_by     text,
    ADD COLUMN IF NOT EXISTS desired_serial bigint      NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS fingerprint    text;

CREATE INDEX IF NOT EXISTS dead_letter_stream ON tidemark.dead_letter (shard, stream_id, seq_id);
