-- Number 2: operators' requests for a shard, and a fingerprint of its definition.
--
-- As every upgrade, it changes nothing twice: a missing table was created in its newest form before this runs.

ALTER TABLE tidemark.shard
    ALTER COLUMN condition SET DEFAULT 'never run',
    ALTER COLUMN node SET DEFAULT '',
    ADD COLUMN IF NOT EXISTS desired        text        NOT NULL DEFAULT 'run' CHECK (desired IN ('run', 'pause', 'stop')),
    ADD COLUMN IF NOT EXISTS desired_until  timestamptz,
    ADD COLUMN IF NOT EXISTS desired_by     text,
    ADD COLUMN IF NOT EXISTS desired_serial bigint      NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS fingerprint    text;

CREATE INDEX IF NOT EXISTS dead_letter_stream ON tidemark.dead_letter (shard, stream_id, seq_id);
