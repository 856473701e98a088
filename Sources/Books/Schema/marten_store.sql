-- An event store in Marten's shape, for a database that has none.

CREATE SCHEMA IF NOT EXISTS {{store}};

CREATE TABLE {{store}}.mt_streams (
    id           {{stream_id_type}} PRIMARY KEY,
    type         varchar,
    version      bigint,
    "timestamp"  timestamptz NOT NULL DEFAULT now(),
    snapshot     jsonb,
    snapshot_version integer,
    created      timestamptz NOT NULL DEFAULT now(),
    tenant_id    varchar DEFAULT '*DEFAULT*',
    is_archived  boolean DEFAULT false
);

CREATE SEQUENCE {{sequence}};

CREATE TABLE {{store}}.mt_events (
    seq_id          bigint CONSTRAINT pkey_mt_events_seq_id PRIMARY KEY,
    id              uuid NOT NULL,
    stream_id       {{stream_id_type}} REFERENCES {{store}}.mt_streams ON DELETE CASCADE,
    version         bigint NOT NULL,
    data            jsonb NOT NULL,
    type            varchar(500) NOT NULL,
    "timestamp"     timestamptz NOT NULL DEFAULT now(),
    tenant_id       varchar DEFAULT '*DEFAULT*',
    mt_dotnet_type  varchar,
    correlation_id  varchar,
    causation_id    varchar,
    headers         jsonb,
    is_archived     boolean DEFAULT false
);

ALTER SEQUENCE {{sequence}} OWNED BY {{store}}.mt_events.seq_id;

CREATE UNIQUE INDEX pk_mt_events_stream_and_version ON {{store}}.mt_events (stream_id, version);
