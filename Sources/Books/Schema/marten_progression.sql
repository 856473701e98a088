-- The positions of all shards, in Marten's shape.

CREATE TABLE {{store}}.mt_event_progression (
    name          varchar CONSTRAINT pk_mt_event_progression PRIMARY KEY,
    last_seq_id   bigint,
    last_updated  timestamptz DEFAULT transaction_timestamp()
);
