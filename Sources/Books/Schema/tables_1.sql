-- Tidemark's own tables, version 1.
--
-- Positions are not here: they live in the event store's progression table, where its other tools look for them.

CREATE SCHEMA IF NOT EXISTS tidemark;

COMMENT ON SCHEMA tidemark IS 'Tidemark: keeps read models up to date from an event table';

-- Which event store this schema serves, and which version of these tables is installed.
CREATE TABLE tidemark.installation (
    singleton     boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    version       integer     NOT NULL,
    store_schema  text        NOT NULL,
    dialect       text        NOT NULL,
    objects_hash  text,
    installed_at  timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);

-- The proven high-water mark. Our own row, because other programs write the progression's `HighWaterMark` by other rules.
CREATE TABLE tidemark.high_water (
    singleton   boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    mark        bigint      NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now()
);

-- Runs of numbers that the mark stepped over without proof that they are dead.
-- An event that shows up in one of them all the same never reaches a page; it becomes a dead letter of every shard that takes it.
CREATE TABLE tidemark.gap (
    first_seq_id  bigint      PRIMARY KEY,
    last_seq_id   bigint      NOT NULL CHECK (last_seq_id >= first_seq_id),
    reason        text        NOT NULL,
    held_by       text,
    arrived       bigint[]    NOT NULL DEFAULT '{}',
    passed_at     timestamptz NOT NULL DEFAULT now()
);

-- Events that a shard gave up on.
CREATE TABLE tidemark.dead_letter (
    shard            text        NOT NULL,
    seq_id           bigint      NOT NULL,
    stream_id        text,
    type             text,
    class            text        NOT NULL,
    sqlstate         text,
    message          text        NOT NULL,
    detail           text,
    attempts         integer     NOT NULL DEFAULT 1,
    first_failed_at  timestamptz NOT NULL DEFAULT now(),
    last_failed_at   timestamptz NOT NULL DEFAULT now(),
    node             text,
    PRIMARY KEY (shard, seq_id)
);

-- How each shard is doing, as the node that runs it last wrote it down.
CREATE TABLE tidemark.shard (
    name        text             PRIMARY KEY,
    condition   text             NOT NULL,
    reason      text,
    rate        double precision NOT NULL DEFAULT 0,
    node        text             NOT NULL,
    since       timestamptz      NOT NULL DEFAULT now(),
    updated_at  timestamptz      NOT NULL DEFAULT now()
);
