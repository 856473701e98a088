-- The schema tidemark at number 2, as the last program of that number made it (commit 9944d55), with rows, on the store of marten.sql.
-- Dumped by pg_dump --schema=tidemark --inserts --no-owner.

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

CREATE SCHEMA tidemark;

COMMENT ON SCHEMA tidemark IS 'Tidemark: keeps read models up to date from an event table';

CREATE FUNCTION tidemark.append(stream_id uuid, events jsonb, expected_version bigint DEFAULT NULL::bigint, stream_type text DEFAULT NULL::text, tenant_id text DEFAULT '*DEFAULT*'::text, OUT version bigint, OUT seq_id bigint) RETURNS record
    LANGUAGE plpgsql
    AS $$
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
    INSERT INTO "public".mt_streams AS s (id, type, version, tenant_id)
    VALUES (append.stream_id, append.stream_type, 0, append.tenant_id)
        ON CONFLICT DO NOTHING;
    SELECT s.version, s.is_archived INTO stream
      FROM "public".mt_streams AS s
     WHERE s.id = append.stream_id AND s.tenant_id = append.tenant_id
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
        append.seq_id := nextval('"public".mt_events_sequence');
        INSERT INTO "public".mt_events (seq_id, id, stream_id, version, data, type, "timestamp", tenant_id, headers, causation_id, correlation_id)
        VALUES (append.seq_id, coalesce((event ->> 'id')::uuid, gen_random_uuid()), append.stream_id, append.version,
                event -> 'data', event ->> 'type', clock_timestamp(), append.tenant_id, event -> 'headers', event ->> 'causation_id', event ->> 'correlation_id');
    END LOOP;
    UPDATE "public".mt_streams AS s
       SET version = append.version, "timestamp" = now()
     WHERE s.id = append.stream_id AND s.tenant_id = append.tenant_id;
END
$$;

CREATE FUNCTION tidemark.begin_page(shard text, floor bigint, ceiling bigint, types text[], durable boolean) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    found_at    bigint;
    passed_over text;
BEGIN
    UPDATE "public".mt_event_progression AS p
       SET last_seq_id = begin_page.ceiling, last_updated = transaction_timestamp()
     WHERE p.name = begin_page.shard AND coalesce(p.last_seq_id, 0) = begin_page.floor;

    IF NOT FOUND THEN
        SELECT p.last_seq_id INTO found_at FROM "public".mt_event_progression AS p WHERE p.name = begin_page.shard;
        RAISE EXCEPTION 'shard % expected its position at %, found it at %', shard, floor, coalesce(found_at::text, 'no row')
            USING ERRCODE = 'TM301',
                  HINT = 'Somebody else moved the position: a second daemon, a host that runs a shard of this name, or a person.';
    END IF;

    -- Numbers that the mark stepped over are left out, except where an event has since arrived and was accounted for: that was
    -- done under this position's lock, so a shard either reads the event in a page or has a dead letter for it, never both.
    -- Gaps never overlap, so at most one of them begins at or before the floor and reaches into the page.
    WITH gap AS (
        SELECT first_seq_id, last_seq_id, arrived FROM tidemark.gap
         WHERE first_seq_id > begin_page.floor AND first_seq_id <= begin_page.ceiling
         UNION ALL
        (SELECT first_seq_id, last_seq_id, arrived FROM tidemark.gap
          WHERE first_seq_id <= begin_page.floor ORDER BY first_seq_id DESC LIMIT 1))
    SELECT (range_agg(int8range(first_seq_id, last_seq_id, '[]'))
            - coalesce((SELECT range_agg(int8range(a, a, '[]')) FROM gap, unnest(arrived) AS a), '{}'))::text
      INTO passed_over
      FROM gap;

    PERFORM set_config('tidemark.floor', floor::text, true),
            set_config('tidemark.ceiling', ceiling::text, true),
            set_config('tidemark.types', coalesce(types::text, ''), true),
            set_config('tidemark.passed_over', coalesce(passed_over, ''), true),
            set_config('tidemark.parked', '', true);
    IF NOT durable THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
END
$$;

CREATE FUNCTION tidemark.cut_page(shard text, ceiling bigint) RETURNS void
    LANGUAGE sql
    AS $$
    UPDATE "public".mt_event_progression AS p
       SET last_seq_id = cut_page.ceiling
     WHERE p.name = cut_page.shard AND p.last_seq_id >= cut_page.ceiling;
$$;

CREATE FUNCTION tidemark.isolate(statements text[], chunk integer, isolable text[], park boolean) RETURNS TABLE(seq_id bigint, statement integer, code text, message text, detail text, hint text, stream_id text, type text)
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
DECLARE
    events   bigint[];
    ceiling  text := current_setting('tidemark.ceiling');
    los      integer[] := '{}';
    his      integer[] := '{}';
    -- Of each range: whether it is known to fail, and whether the range before it is the other half of one that failed.
    bad      boolean[] := '{}';
    half     boolean[] := '{}';
    n        integer;
    top      integer;
    lo       integer;
    hi       integer;
    mid      integer;
    is_bad   boolean;
    is_fine  boolean;
    step     integer;
BEGIN
    SET CONSTRAINTS ALL IMMEDIATE;
    SELECT coalesce(array_agg(b.seq_id ORDER BY b.seq_id), '{}') INTO events FROM tidemark.batch AS b;
    n := cardinality(events);
    IF n = 0 THEN
        RETURN;
    END IF;
    -- The ranges, the last of them at the bottom of the stack.
    hi := n;
    WHILE hi >= 1 LOOP
        lo := CASE WHEN chunk > 0 THEN ((hi - 1) / chunk) * chunk + 1 ELSE 1 END;
        los := los || lo; his := his || hi; bad := bad || (chunk = 0 AND n > 1); half := half || false;
        hi := lo - 1;
    END LOOP;

    top := cardinality(los);
    WHILE top > 0 LOOP
        lo := los[top]; hi := his[top]; is_bad := bad[top];
        top := top - 1;
        IF NOT is_bad THEN
            PERFORM set_config('tidemark.floor', (events[lo] - 1)::text, true),
                    set_config('tidemark.ceiling', events[hi]::text, true);
            BEGIN
                FOR i IN 1 .. cardinality(statements) LOOP
                    step := i;
                    EXECUTE statements[i];
                END LOOP;
                is_fine := true;
            EXCEPTION WHEN OTHERS THEN
                IF NOT SQLSTATE LIKE ANY (isolable) THEN
                    RAISE;
                END IF;
                is_fine := false;
                GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT,
                                        code = RETURNED_SQLSTATE;
            END;
            IF is_fine THEN
                -- What failed as a whole and is fine on the left fails on the right.
                IF top > 0 AND half[top] AND los[top] = hi + 1 THEN
                    bad[top] := his[top] > los[top];
                END IF;
                CONTINUE;
            END IF;
            IF top > 0 AND half[top] AND los[top] = hi + 1 THEN
                half[top] := false;
            END IF;
            IF lo = hi THEN
                SELECT e.seq_id, e.stream_id::text, e.type::text INTO seq_id, stream_id, type
                  FROM "public".mt_events AS e WHERE e.seq_id = events[lo];
                statement := step;
                RETURN NEXT;
                IF park THEN
                    PERFORM set_config('tidemark.parked',
                        array_append(nullif(current_setting('tidemark.parked', true), '')::text[], stream_id)::text, true);
                END IF;
                CONTINUE;
            END IF;
        END IF;
        mid := (lo + hi) / 2;
        top := top + 1;
        los[top] := mid + 1; his[top] := hi; bad[top] := false; half[top] := true;
        top := top + 1;
        los[top] := lo; his[top] := mid; bad[top] := false; half[top] := false;
    END LOOP;
    -- The page's own bounds again, with the parked streams in it.
    PERFORM set_config('tidemark.floor', (events[1] - 1)::text, true), set_config('tidemark.ceiling', ceiling, true);
END
$$;

CREATE FUNCTION tidemark.park(shard text, node text) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
DECLARE
    streams text[];
    parked  bigint := 0;
BEGIN
    SELECT array_agg(DISTINCT d.stream_id) INTO streams
      FROM tidemark.dead_letter AS d WHERE d.shard = park.shard AND d.stream_id IS NOT NULL;
    IF streams IS NOT NULL THEN
        PERFORM set_config('tidemark.parked', '', true);
        INSERT INTO tidemark.dead_letter (shard, seq_id, stream_id, type, class, message, node)
        SELECT park.shard, b.seq_id, b.stream_id::text, b.type, 'parked', 'an earlier event of this stream is a dead letter', park.node
          FROM tidemark.batch AS b
         WHERE b.stream_id::text = ANY (streams)
           AND EXISTS (SELECT FROM tidemark.dead_letter AS d
                        WHERE d.shard = park.shard AND d.stream_id = b.stream_id::text AND d.seq_id < b.seq_id)
            ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS parked = ROW_COUNT;
        PERFORM set_config('tidemark.parked', streams::text, true);
    END IF;
    RETURN parked;
END
$$;

CREATE FUNCTION tidemark.wait_for(shard text, timeout interval DEFAULT '00:00:05'::interval) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
DECLARE
    target   bigint;
    at       bigint;
    deadline timestamptz := clock_timestamp() + timeout;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'tidemark.wait_for needs a READ COMMITTED transaction, found %', current_setting('transaction_isolation')
            USING ERRCODE = '25001', HINT = 'In a transaction with a fixed snapshot the progress of others is never seen.';
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_locks AS l
                WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted AND l.mode = 'RowExclusiveLock'
                  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
                  AND l.relation = '"public".mt_events_sequence'::regclass) THEN
        RAISE EXCEPTION 'tidemark.wait_for was called in a transaction that has appended events itself'
            USING ERRCODE = '25001', HINT = 'Commit first: a shard applies an event only after its commit.';
    END IF;
    SELECT CASE WHEN s.is_called THEN s.last_value ELSE s.last_value - 1 END INTO target FROM "public".mt_events_sequence AS s;
    LOOP
        SELECT p.last_seq_id INTO at FROM "public".mt_event_progression AS p WHERE p.name = wait_for.shard;
        IF at >= target OR (target = 0 AND at IS NOT NULL) THEN
            RETURN true;
        ELSIF clock_timestamp() >= deadline THEN
            IF at IS NULL THEN
                RAISE EXCEPTION 'there is no shard named %', shard
                    USING ERRCODE = 'TM303', HINT = 'A shard is named like Trip:All. It has a position once the daemon has started it.';
            END IF;
            RETURN false;
        END IF;
        PERFORM pg_sleep(0.005);
    END LOOP;
END
$$;

CREATE VIEW tidemark.batch AS
 SELECT e.seq_id,
    e.id,
    e.stream_id,
    e.version,
    (e.type)::text AS type,
    e.data,
    e."timestamp",
    (e.tenant_id)::text AS tenant_id,
    e.headers,
    (e.causation_id)::text AS causation_id,
    (e.correlation_id)::text AS correlation_id
   FROM public.mt_events e
  WHERE ((e.seq_id > (NULLIF(current_setting('tidemark.floor'::text, true), ''::text))::bigint) AND (e.seq_id <= (NULLIF(current_setting('tidemark.ceiling'::text, true), ''::text))::bigint) AND ((( SELECT NULLIF(current_setting('tidemark.types'::text, true), ''::text) AS "nullif") IS NULL) OR ((e.type)::text = ANY (( SELECT (NULLIF(current_setting('tidemark.types'::text, true), ''::text))::text[] AS "nullif")::text[]))) AND ((( SELECT NULLIF(current_setting('tidemark.parked'::text, true), ''::text) AS "nullif") IS NULL) OR (NOT ((e.stream_id)::text = ANY (( SELECT (NULLIF(current_setting('tidemark.parked'::text, true), ''::text))::text[] AS "nullif")::text[])))) AND ((( SELECT NULLIF(current_setting('tidemark.passed_over'::text, true), ''::text) AS "nullif") IS NULL) OR (NOT (e.seq_id <@ ( SELECT (NULLIF(current_setting('tidemark.passed_over'::text, true), ''::text))::int8multirange AS "nullif")))) AND true AND (e.is_archived IS NOT TRUE) AND (((e.type)::text <> 'tombstone'::text) OR (e.mt_dotnet_type IS NULL) OR ((e.mt_dotnet_type)::text !~~ '%.Tombstone, %'::text)));

COMMENT ON VIEW tidemark.batch IS 'The events of the current page: seq_id in (tidemark.floor, tidemark.ceiling], of tidemark.types';

SET default_tablespace = '';

SET default_table_access_method = heap;

CREATE TABLE tidemark.dead_letter (
    shard text NOT NULL,
    seq_id bigint NOT NULL,
    stream_id text,
    type text,
    class text NOT NULL,
    sqlstate text,
    message text NOT NULL,
    detail text,
    attempts integer DEFAULT 1 NOT NULL,
    first_failed_at timestamp with time zone DEFAULT now() NOT NULL,
    last_failed_at timestamp with time zone DEFAULT now() NOT NULL,
    node text
);

CREATE TABLE tidemark.gap (
    first_seq_id bigint NOT NULL,
    last_seq_id bigint NOT NULL,
    reason text NOT NULL,
    held_by text,
    arrived bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    passed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT gap_check CHECK ((last_seq_id >= first_seq_id))
);

CREATE TABLE tidemark.high_water (
    singleton boolean DEFAULT true NOT NULL,
    mark bigint NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT high_water_singleton_check CHECK (singleton)
);

CREATE TABLE tidemark.installation (
    singleton boolean DEFAULT true NOT NULL,
    version integer NOT NULL,
    store_schema text NOT NULL,
    dialect text NOT NULL,
    objects_hash text,
    installed_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT installation_singleton_check CHECK (singleton)
);

CREATE TABLE tidemark.shard (
    name text NOT NULL,
    condition text DEFAULT 'never run'::text NOT NULL,
    reason text,
    rate double precision DEFAULT 0 NOT NULL,
    node text DEFAULT ''::text NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    desired text DEFAULT 'run'::text NOT NULL,
    desired_until timestamp with time zone,
    desired_by text,
    desired_serial bigint DEFAULT 0 NOT NULL,
    fingerprint text,
    CONSTRAINT shard_desired_check CHECK ((desired = ANY (ARRAY['run'::text, 'pause'::text, 'stop'::text])))
);

INSERT INTO tidemark.dead_letter VALUES ('All:All', 4, '00000000-0000-4000-8000-000000000001', 'x', 'event', '22P02', 'invalid input syntax for type numeric: "12,5"', NULL, 2, '2026-11-21 10:02:00+00', '2026-11-21 10:03:00+00', 'old/1');
INSERT INTO tidemark.dead_letter VALUES ('All:All', 3, '00000000-0000-4000-8000-000000000001', 'x', 'late_arrival', NULL, 'the event became visible after the high-water mark had stepped over its number', NULL, 1, '2026-11-21 10:02:00+00', '2026-11-21 10:02:00+00', 'old/1');

INSERT INTO tidemark.gap VALUES (3, 3, 'grace', NULL, '{3}', '2026-11-21 10:01:00+00');

INSERT INTO tidemark.high_water VALUES (true, 8, '2026-11-21 10:05:00+00');

INSERT INTO tidemark.installation VALUES (true, 2, 'public', 'marten', '90640908da4fcb37', '2026-11-21 10:00:00+00', '2026-11-21 10:00:00+00');

INSERT INTO tidemark.shard VALUES ('Other:All', 'following', NULL, 0, 'old/1', '2026-11-21 10:00:00+00', '2026-11-21 10:05:00+00', 'stop', NULL, 'anna', 3, NULL);
INSERT INTO tidemark.shard VALUES ('All:All', 'following', NULL, 12.5, 'old/1', '2026-11-21 10:00:00+00', '2026-11-21 10:05:00+00', 'run', NULL, NULL, 0, '0123456789abcdef');

ALTER TABLE ONLY tidemark.dead_letter
    ADD CONSTRAINT dead_letter_pkey PRIMARY KEY (shard, seq_id);

ALTER TABLE ONLY tidemark.gap
    ADD CONSTRAINT gap_pkey PRIMARY KEY (first_seq_id);

ALTER TABLE ONLY tidemark.high_water
    ADD CONSTRAINT high_water_pkey PRIMARY KEY (singleton);

ALTER TABLE ONLY tidemark.installation
    ADD CONSTRAINT installation_pkey PRIMARY KEY (singleton);

ALTER TABLE ONLY tidemark.shard
    ADD CONSTRAINT shard_pkey PRIMARY KEY (name);

CREATE INDEX dead_letter_stream ON tidemark.dead_letter USING btree (shard, stream_id, seq_id);
