-- Tidemark's own tables, version 4: read models that are rebuilt.

-- The rebuild of each shard's read model that is wanted, under way, or was the last one.
CREATE TABLE tidemark.rebuild (
    shard        text        PRIMARY KEY,
    -- Another one with each new beginning, so that whoever still works on an earlier one cannot write.
    id           bigint      GENERATED ALWAYS AS IDENTITY UNIQUE,
    -- 'asked', 'replaying', 'compared', 'done', 'failed', 'aborted'
    state        text        NOT NULL DEFAULT 'asked',
    -- Whether the node that leads the shard is to work on it, rather than the command itself.
    by_node      boolean     NOT NULL,
    -- An operator wants it to end without an exchange.
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
    -- The position to stop at, where that is not the shard's own.
    up_to        bigint,
    workers      integer     NOT NULL DEFAULT 1 CHECK (workers > 0),
    -- Only these streams, or these tenants; NULL is all.
    streams      text[],
    tenants      text[],
    -- Of the definition it runs with, and of the tables as they were when it began.
    fingerprint  text        NOT NULL,
    shape        text,
    -- Where the new tables are while they are filled; NULL when there are none.
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

-- How far each of a rebuild's workers is: what makes it resume where it was.
CREATE TABLE tidemark.rebuild_worker (
    rebuild      bigint         NOT NULL REFERENCES tidemark.rebuild (id) ON DELETE CASCADE,
    worker       integer        NOT NULL,
    position     bigint         NOT NULL DEFAULT 0,
    -- Numbers that were left out because the high-water mark had stepped over them.
    passed_over  int8multirange NOT NULL DEFAULT '{}',
    PRIMARY KEY (rebuild, worker)
);
