-- Tidemark's own tables, version 2: what operators want of a shard, and whether its definition has changed.

ALTER TABLE tidemark.shard
    ALTER COLUMN condition SET DEFAULT 'never run',
    ALTER COLUMN node SET DEFAULT '',
    ADD COLUMN desired        text        NOT NULL DEFAULT 'run' CHECK (desired IN ('run', 'pause', 'stop')),
    -- When a pause is over; NULL means when somebody says so.
    ADD COLUMN desired_until  timestamptz,
    ADD COLUMN desired_by     text,
    -- Counts the wishes, so that the same wish said again is heard.
    ADD COLUMN desired_serial bigint      NOT NULL DEFAULT 0,
    -- Of the statements with which the position was reached.
    ADD COLUMN fingerprint    text;

CREATE INDEX dead_letter_stream ON tidemark.dead_letter (shard, stream_id, seq_id);
