-- An event store as Marten 7 makes it, with eight events. The third became visible after the mark had passed its number.

CREATE TABLE mt_streams (id uuid PRIMARY KEY, type varchar, version bigint, "timestamp" timestamptz NOT NULL DEFAULT now(), snapshot jsonb, snapshot_version integer, created timestamptz NOT NULL DEFAULT now(), tenant_id varchar DEFAULT '*DEFAULT*', is_archived boolean DEFAULT false);
CREATE SEQUENCE mt_events_sequence;
CREATE TABLE mt_events (seq_id bigint CONSTRAINT pkey_mt_events_seq_id PRIMARY KEY, id uuid NOT NULL, stream_id uuid REFERENCES mt_streams ON DELETE CASCADE, version bigint NOT NULL, data jsonb NOT NULL, type varchar(500) NOT NULL, "timestamp" timestamptz NOT NULL DEFAULT now(), tenant_id varchar DEFAULT '*DEFAULT*', mt_dotnet_type varchar, correlation_id varchar, causation_id varchar, headers jsonb, is_archived boolean DEFAULT false);
ALTER SEQUENCE mt_events_sequence OWNED BY mt_events.seq_id;
CREATE TABLE mt_event_progression (name varchar CONSTRAINT pk_mt_event_progression PRIMARY KEY, last_seq_id bigint, last_updated timestamptz DEFAULT transaction_timestamp());

INSERT INTO mt_streams (id, version) VALUES ('00000000-0000-4000-8000-000000000001', 8);
INSERT INTO mt_events (seq_id, id, stream_id, version, data, type)
SELECT n, gen_random_uuid(), '00000000-0000-4000-8000-000000000001', n, '{}', 'x'
  FROM generate_series(1, 8) AS n;
SELECT setval('mt_events_sequence', 8);
INSERT INTO mt_event_progression (name, last_seq_id) VALUES ('All:All', 5), ('Other:All', 8), ('HighWaterMark', 8);
