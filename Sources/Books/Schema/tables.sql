-- Tidemark's own tables in their newest form, one below each heading. Missing tables are created from here, at any number of the
-- database; the numbers bring existing tables up to date (upgrade_*.sql).
--
-- Positions are not here: they are in the event store's progression table, where its other tools look for them.
-- The lines below a heading, up to the first empty one, become the object's COMMENT.

-- ## TABLE tidemark.installation
-- The event store that this schema serves, and the number of the schema.
CREATE TABLE tidemark.installation (
    singleton     boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    -- The highest of tidemark.schema_number.
    version       integer     NOT NULL,
    store_schema  text        NOT NULL,
    dialect       text        NOT NULL,
    -- Programs from before number 5 read this column, and refuse to run because of `version`.
    objects_hash  text,
    installed_at  timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    -- A hash of the event store's columns that the view and the functions were made for.
    shape_hash    text
);

-- ## TABLE tidemark.schema_number
-- The numbers applied to this schema: by which program, when, and which older programs may run beside it.
--
-- Numbers below 5 are missing if a program from before number 5 applied them.
CREATE TABLE tidemark.schema_number (
    number           integer     PRIMARY KEY,
    -- Programs that know at least this number may run beside it; older ones refuse with TM205.
    compatible_from  integer     NOT NULL,
    program          text        NOT NULL,
    applied_at       timestamptz NOT NULL DEFAULT now(),
    applied_by       text        NOT NULL DEFAULT session_user
);

-- ## TABLE tidemark.high_water
-- The proven high-water mark. Our own row, because other programs write the progression's HighWaterMark by other rules.
CREATE TABLE tidemark.high_water (
    singleton   boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    mark        bigint      NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    -- Counts the times that the numbers of the event store began anew.
    era         integer     NOT NULL DEFAULT 1,
    -- An event at or below the mark: its number, its stream and version, and its id. Another event at this number is of another era.
    witness_seq_id  bigint,
    witness_place   text,
    witness_id      text,
    -- The file of the store's sequence, which a reset replaces.
    sequence_file   bigint
);

-- ## TABLE tidemark.gap
-- Runs of numbers that the mark skipped without proof that they are dead.
--
-- An event that still becomes visible in one of them never reaches a page; it becomes a dead letter of every shard that takes it.
CREATE TABLE tidemark.gap (
    first_seq_id  bigint      PRIMARY KEY,
    last_seq_id   bigint      NOT NULL CHECK (last_seq_id >= first_seq_id),
    reason        text        NOT NULL,
    held_by       text,
    arrived       bigint[]    NOT NULL DEFAULT '{}',
    passed_at     timestamptz NOT NULL DEFAULT now()
);

-- ## TABLE tidemark.dead_letter
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

-- A hash takes an identifier of any length, as the store does.
CREATE INDEX dead_letter_by_stream ON tidemark.dead_letter USING hash (stream_id);

-- ## TABLE tidemark.former_letter
-- Dead letters of earlier eras: their numbers belong to other events now, so they are never replayed.
CREATE TABLE tidemark.former_letter (
    era              integer     NOT NULL,
    shard            text        NOT NULL,
    seq_id           bigint      NOT NULL,
    stream_id        text,
    type             text,
    class            text        NOT NULL,
    sqlstate         text,
    message          text        NOT NULL,
    detail           text,
    attempts         integer     NOT NULL,
    first_failed_at  timestamptz NOT NULL,
    last_failed_at   timestamptz NOT NULL,
    node             text,
    PRIMARY KEY (era, shard, seq_id)
);

-- ## TABLE tidemark.shard
-- The state of each shard, as its node last wrote it, and the latest request of an operator for it.
CREATE TABLE tidemark.shard (
    name            text             PRIMARY KEY,
    condition       text             NOT NULL DEFAULT 'never run',
    reason          text,
    rate            double precision NOT NULL DEFAULT 0,
    node            text             NOT NULL DEFAULT '',
    since           timestamptz      NOT NULL DEFAULT now(),
    updated_at      timestamptz      NOT NULL DEFAULT now(),
    desired         text             NOT NULL DEFAULT 'run' CHECK (desired IN ('run', 'pause', 'stop')),
    -- When a pause ends; NULL for until an operator ends it.
    desired_until   timestamptz,
    desired_by      text,
    -- Counts the requests, so that nodes notice a repeated one.
    desired_serial  bigint           NOT NULL DEFAULT 0,
    -- The latest request that the shard's node has carried out.
    obeyed_serial   bigint           NOT NULL DEFAULT 0,
    -- Of the statements that brought the shard to its position.
    fingerprint     text,
    -- Where the shard began, and where a rebuild begins; NULL if the shard began before this column existed.
    first_position  bigint
);

-- ## TABLE tidemark.position
-- Where Tidemark left the position of each shard. Other programs can write the event store's progression too, and a position that they
-- moved does not say which events the tables contain.
CREATE TABLE tidemark.position (
    shard        text    PRIMARY KEY,
    last_seq_id  bigint  NOT NULL,
    -- The numbers of the event store have begun anew since.
    is_stale     boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

-- ## TABLE tidemark.filled_table
-- The tables that each shard's position belongs to: it says which events their rows contain.
CREATE TABLE tidemark.filled_table (
    shard     text   NOT NULL,
    -- As the projection declares it.
    name      text   NOT NULL,
    relation  oid    NOT NULL,
    -- Of the table tidemark.shard. If that is another one now, the whole database was restored, and the tables with it.
    beside    oid    NOT NULL,
    -- The rows that `setup` has put there, before the first event.
    seeds     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (shard, name)
);

-- ## TABLE tidemark.skipped
-- Counts the events that each shard's pages continued without, by reason; dead letters are not among them.
CREATE TABLE tidemark.skipped (
    shard         text         NOT NULL,
    -- 'archived', 'marked' (as skipped, by the store), 'ignored' (by a rule, after it failed)
    reason        text         NOT NULL,
    events        bigint       NOT NULL,
    first_seq_id  bigint       NOT NULL,
    last_seq_id   bigint       NOT NULL,
    last_at       timestamptz  NOT NULL DEFAULT now(),
    PRIMARY KEY (shard, reason)
);

-- ## TABLE tidemark.node
-- The nodes that run shards of this store.
CREATE TABLE tidemark.node (
    name           text        PRIMARY KEY,
    version        text        NOT NULL,
    mode           text        NOT NULL,
    -- The node's lock session holds it as long as the node lives.
    lock_key       bigint      NOT NULL,
    since          timestamptz NOT NULL DEFAULT now(),
    -- The shards in the node's settings: only a node that declares a shard leads it.
    shards         text[],
    -- The newest schema number that the node's program knows; NULL for a program from before the fifth.
    schema_number  integer
);

-- ## TABLE tidemark.rebuild
-- The requested, running, or last rebuild of each shard's read model.
CREATE TABLE tidemark.rebuild (
    shard        text        PRIMARY KEY,
    -- Changes with each new start, so that a session that still works on an earlier rebuild cannot write.
    id           bigint      GENERATED ALWAYS AS IDENTITY UNIQUE,
    -- 'asked', 'replaying', 'compared', 'done', 'failed', 'aborted'
    state        text        NOT NULL DEFAULT 'asked',
    -- Whether the node that leads the shard does the work, and not the command itself.
    by_node      boolean     NOT NULL,
    -- An operator asked it to end without an exchange.
    is_aborting  boolean     NOT NULL DEFAULT false,
    asked_by     text        NOT NULL,
    asked_at     timestamptz NOT NULL DEFAULT now(),
    -- As asked: 'auto', 'swap', 'copy' or 'in-place'.
    way          text        NOT NULL,
    -- As chosen, and why.
    chosen_way   text,
    way_reason   text,
    compares     boolean     NOT NULL DEFAULT false,
    exchanges    boolean     NOT NULL DEFAULT true,
    -- It may leave fewer rows than there are.
    allows_fewer boolean     NOT NULL DEFAULT false,
    -- The position to stop at, if it is not the shard's own.
    up_to        bigint,
    workers      integer     NOT NULL DEFAULT 1 CHECK (workers > 0),
    -- Only these streams, or these tenants; NULL for all.
    streams      text[],
    tenants      text[],
    -- Of the definition it runs with, and of the tables at its start.
    fingerprint  text        NOT NULL,
    shape        text,
    -- The schema of the new tables while they are filled; NULL if there are none.
    schema       text,
    position     bigint      NOT NULL DEFAULT 0,
    target       bigint,
    node         text,
    error        text,
    hint         text,
    comparison   jsonb,
    started_at   timestamptz,
    finished_at  timestamptz
);

-- ## TABLE tidemark.rebuild_worker
-- The position of each worker of a rebuild, from which the rebuild continues after an interruption.
CREATE TABLE tidemark.rebuild_worker (
    rebuild      bigint         NOT NULL REFERENCES tidemark.rebuild (id) ON DELETE CASCADE,
    worker       integer        NOT NULL,
    position     bigint         NOT NULL DEFAULT 0,
    -- Numbers the worker left out because the high-water mark had skipped them.
    passed_over  int8multirange NOT NULL DEFAULT '{}',
    PRIMARY KEY (rebuild, worker)
);
