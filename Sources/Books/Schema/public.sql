-- The view and the functions for applications and projections, in the schema tidemark. tables.sql explains the headings.
-- The event store gives the values of placeholders in double braces: its schema, the type of its stream ids, its optional columns.

-- ## VIEW tidemark.batch
-- The events of the current page: seq_id in (tidemark.floor, tidemark.ceiling], of tidemark.types.
--
-- It reads the page's bounds and filters from settings of the transaction, so you can develop a projection in psql:
--
--   SET tidemark.floor = 0; SET tidemark.ceiling = 1000; SET tidemark.types = '{trip_started,travel}';
--   SELECT * FROM tidemark.batch;
--
-- Numbers may be integer and data json in the table; where they are bigint and jsonb, the casts are nothing.
-- The data of an event that Marten wrote in binary is empty, so reading it is an error; is_binary tells such events.
--
-- The scalar sub-selects matter: the server evaluates them once a page, but a bare current_setting(...)::text[] once a row. Each has a
-- cost whenever the statement begins, and a search for poison begins it thousands of times: so there is one for each filter, whose NULL
-- lets every row pass.
CREATE OR REPLACE VIEW tidemark.batch AS
SELECT e.seq_id::bigint AS seq_id,
       e.id,
       e.stream_id,
       e.version::bigint AS version,
       e.type::text AS type,
       {{data}} AS data,
       e."timestamp",
       {{tenant_id}} AS tenant_id,
       {{headers}} AS headers,
       {{causation_id}} AS causation_id,
       {{correlation_id}} AS correlation_id,
       {{is_binary}} AS is_binary
  FROM {{store}}.mt_events AS e
 WHERE e.seq_id > nullif(current_setting('tidemark.floor', true), '')::bigint
   AND e.seq_id <= nullif(current_setting('tidemark.ceiling', true), '')::bigint
   AND (e.type = ANY ((SELECT nullif(current_setting('tidemark.types', true), '')::text[])::text[])) IS NOT FALSE
   -- Filters that are rarely set are evaluated row by row only if one of them is set.
   AND ((SELECT concat(current_setting('tidemark.parked', true), current_setting('tidemark.passed_over', true),
                       current_setting('tidemark.streams', true), current_setting('tidemark.tenants', true),
                       current_setting('tidemark.slices', true)) = '')
        -- One worker's share of the streams of a rebuild: usually the only filter of such a rebuild.
        OR ((coalesce(({{stream_hash}} & 2147483647) % (SELECT nullif(current_setting('tidemark.slices', true), '')::integer), 0)
                = (SELECT nullif(current_setting('tidemark.slice', true), '')::integer)) IS NOT FALSE
        AND ((SELECT concat(current_setting('tidemark.parked', true), current_setting('tidemark.passed_over', true),
                            current_setting('tidemark.streams', true), current_setting('tidemark.tenants', true)) = '')
             OR ((e.stream_id::text = ANY ((SELECT nullif(current_setting('tidemark.parked', true), '')::text[])::text[])) IS NOT TRUE
             AND (e.seq_id::bigint <@ (SELECT nullif(current_setting('tidemark.passed_over', true), '')::int8multirange)) IS NOT TRUE
             -- A rebuild of some streams or tenants.
             AND (coalesce(e.stream_id::text, '')
                     = ANY ((SELECT nullif(current_setting('tidemark.streams', true), '')::text[])::text[])) IS NOT FALSE
             AND ({{tenant_id}} = ANY ((SELECT nullif(current_setting('tidemark.tenants', true), '')::text[])::text[]))
                     IS NOT FALSE))))
   AND {{live}};

-- ## FUNCTION tidemark.append({{stream_id_type}}, jsonb, bigint, text, text)
-- Appends events to a stream, in order, and returns the stream's new version and the sequence of the last event.
--
--   SELECT * FROM tidemark.append('...', '[{"type": "trip_started", "data": {"Driver": 7}}]', 0);
--
-- events is an array of objects with `type` and `data`, and optionally `id`, `headers`, `causation_id`, `correlation_id`.
-- expected_version is the stream's version before the call, 0 for a new stream; NULL appends at any version.
-- SQLSTATE TM302 means that the stream was at another version: read it again and decide again.
CREATE OR REPLACE FUNCTION tidemark.append(
    stream_id        {{stream_id_type}},
    events           jsonb,
    expected_version bigint DEFAULT NULL,
    stream_type      text DEFAULT NULL,
    tenant_id        text DEFAULT '*DEFAULT*',
    OUT version      bigint,
    OUT seq_id       bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    stream  record;
    event   jsonb;
    problem text;
BEGIN
    IF jsonb_typeof(append.events) IS DISTINCT FROM 'array' OR jsonb_array_length(append.events) = 0 THEN
        RAISE EXCEPTION 'tidemark.append expected a JSON array of at least one event'
            USING ERRCODE = '22023', HINT = 'For example [{"type": "trip_started", "data": {}}].';
    END IF;
    INSERT INTO {{store}}.mt_streams AS s (id, type, version{{streams_tenant_column}})
    VALUES (append.stream_id, append.stream_type, 0{{streams_tenant_value}})
        ON CONFLICT DO NOTHING;
    SELECT s.version, s.is_archived INTO stream
      FROM {{store}}.mt_streams AS s
     WHERE s.id = append.stream_id{{streams_tenant_match}}
       FOR UPDATE;
    IF append.expected_version IS NOT NULL AND coalesce(stream.version, 0) <> append.expected_version THEN
        RAISE EXCEPTION 'stream % expected at version %, found at version %',
                        append.stream_id, append.expected_version, coalesce(stream.version, 0)
            USING ERRCODE = 'TM302', HINT = 'Another writer appended first. Read the stream again and decide again.';
    ELSIF stream.is_archived THEN
        RAISE EXCEPTION 'stream % is archived', append.stream_id USING ERRCODE = '55000';
    END IF;

    append.version := coalesce(stream.version, 0);
    FOR event IN SELECT e.value FROM jsonb_array_elements(append.events) AS e LOOP
        IF coalesce(event ->> 'type', '') = '' OR event -> 'data' IS NULL THEN
            RAISE EXCEPTION 'an event needs "type" and "data", found the keys %',
                            (SELECT string_agg(k, ', ') FROM jsonb_object_keys(event) AS k)
                USING ERRCODE = '22023';
        END IF;
        append.version := append.version + 1;
        append.seq_id := nextval({{sequence_literal}});
        INSERT INTO {{store}}.mt_events (seq_id, id, stream_id, version, data, type, "timestamp"{{append_columns}})
        VALUES (append.seq_id, coalesce((event ->> 'id')::uuid, gen_random_uuid()), append.stream_id, append.version,
                event -> 'data', event ->> 'type', clock_timestamp(){{append_values}});
    END LOOP;
    UPDATE {{store}}.mt_streams AS s
       SET version = append.version, "timestamp" = now()
     WHERE s.id = append.stream_id{{streams_tenant_match}};
END
$function$;

-- ## FUNCTION tidemark.wait_for(text, interval)
-- Waits until a shard has applied every event appended before the call: true once it has, false after the timeout.
--
--   SELECT tidemark.wait_for('Trip:All', '5 s');
--
-- Call it after you commit the events; inside their transaction it could only wait for itself, so it raises an error.
CREATE OR REPLACE FUNCTION tidemark.wait_for(shard text, timeout interval DEFAULT '5 s')
RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    target   bigint;
    at       bigint;
    deadline timestamptz := clock_timestamp() + timeout;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'tidemark.wait_for needs a READ COMMITTED transaction, found %', current_setting('transaction_isolation')
            USING ERRCODE = '25001', HINT = 'A transaction with a fixed snapshot never sees the progress of others.';
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_locks AS l
                WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted AND l.mode = 'RowExclusiveLock'
                  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
                  AND l.relation = {{sequence_literal}}::regclass) THEN
        RAISE EXCEPTION 'tidemark.wait_for was called in a transaction that has appended events'
            USING ERRCODE = '25001', HINT = 'Commit first: a shard applies an event only after its commit.';
    END IF;
    SELECT CASE WHEN s.is_called THEN s.last_value ELSE s.last_value - 1 END INTO target FROM {{sequence}} AS s;
    LOOP
        SELECT p.last_seq_id INTO at FROM {{store}}.mt_event_progression AS p WHERE p.name = wait_for.shard;
        IF at >= target OR (target = 0 AND at IS NOT NULL) THEN
            RETURN true;
        ELSIF clock_timestamp() >= deadline THEN
            IF at IS NULL THEN
                RAISE EXCEPTION 'there is no shard named %', shard
                    USING ERRCODE = 'TM303', HINT = 'The name of a shard looks like Trip:All. The shard has a position once the daemon has started it.';
            END IF;
            RETURN false;
        END IF;
        PERFORM pg_sleep(0.005);
    END LOOP;
END
$function$;
