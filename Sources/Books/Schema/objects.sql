-- Tidemark's view and functions. They are made anew whenever this text, or the event store's shape, has changed.
-- Words in double braces are filled in from the event store: its schema, the type of its stream ids, its optional columns.

-- The shards in each node's settings: a shard is led by a node that knows it.
ALTER TABLE tidemark.node ADD COLUMN IF NOT EXISTS shards text[];

-- Where each shard began, which a rebuild does too; NULL where it began before this was written down.
ALTER TABLE tidemark.shard ADD COLUMN IF NOT EXISTS first_position bigint;

-- The events of the current page. It reads the page's bounds and filters from settings of the transaction, so a projection
-- can be written in psql:
--
--   SET tidemark.floor = 0; SET tidemark.ceiling = 1000; SET tidemark.types = '{trip_started,travel}';
--   SELECT * FROM tidemark.batch;
--
-- The scalar sub-selects matter: they are evaluated once a page, a bare current_setting(…)::text[] once a row. Each costs something
-- whenever the statement begins, and a search for poison begins it thousands of times: so there is one for each filter, whose NULL
-- lets every row through.
CREATE OR REPLACE VIEW tidemark.batch AS
SELECT e.seq_id,
       e.id,
       e.stream_id,
       e.version,
       e.type::text AS type,
       e.data,
       e."timestamp",
       {{tenant_id}} AS tenant_id,
       {{headers}} AS headers,
       {{causation_id}} AS causation_id,
       {{correlation_id}} AS correlation_id
  FROM {{store}}.mt_events AS e
 WHERE e.seq_id > nullif(current_setting('tidemark.floor', true), '')::bigint
   AND e.seq_id <= nullif(current_setting('tidemark.ceiling', true), '')::bigint
   AND (e.type = ANY ((SELECT nullif(current_setting('tidemark.types', true), '')::text[])::text[])) IS NOT FALSE
   -- What is rarely set is looked at row by row only when some of it is.
   AND ((SELECT concat(current_setting('tidemark.parked', true), current_setting('tidemark.passed_over', true),
                       current_setting('tidemark.streams', true), current_setting('tidemark.tenants', true),
                       current_setting('tidemark.slices', true)) = '')
        -- One worker's share of the streams of a rebuild: alone in most rebuilds that have it.
        OR ((coalesce(({{stream_hash}} & 2147483647) % (SELECT nullif(current_setting('tidemark.slices', true), '')::integer), 0)
                = (SELECT nullif(current_setting('tidemark.slice', true), '')::integer)) IS NOT FALSE
        AND ((SELECT concat(current_setting('tidemark.parked', true), current_setting('tidemark.passed_over', true),
                            current_setting('tidemark.streams', true), current_setting('tidemark.tenants', true)) = '')
             OR ((e.stream_id::text = ANY ((SELECT nullif(current_setting('tidemark.parked', true), '')::text[])::text[])) IS NOT TRUE
             AND (e.seq_id <@ (SELECT nullif(current_setting('tidemark.passed_over', true), '')::int8multirange)) IS NOT TRUE
             -- A rebuild of some streams or tenants.
             AND (coalesce(e.stream_id::text, '')
                     = ANY ((SELECT nullif(current_setting('tidemark.streams', true), '')::text[])::text[])) IS NOT FALSE
             AND ({{tenant_id}} = ANY ((SELECT nullif(current_setting('tidemark.tenants', true), '')::text[])::text[]))
                     IS NOT FALSE))))
   AND {{live}};

COMMENT ON VIEW tidemark.batch IS 'The events of the current page: seq_id in (tidemark.floor, tidemark.ceiling], of tidemark.types';

-- What a page leaves out because the mark had stepped over it; NULL where that is nothing.
--
-- Numbers that the mark stepped over are left out, except where an event has since arrived and was accounted for: that was
-- done under this position's lock, so a shard either reads the event in a page or has a dead letter for it, never both.
-- Gaps never overlap, so at most one of them begins at or before the floor and reaches into the page.
CREATE OR REPLACE FUNCTION tidemark.passed_over(floor bigint, ceiling bigint)
RETURNS text
LANGUAGE plpgsql
AS $function$
BEGIN
    -- In this language, since a function in SQL is planned anew for each page.
    RETURN (
        WITH gap AS (
            SELECT first_seq_id, last_seq_id, arrived FROM tidemark.gap
             WHERE first_seq_id > passed_over.floor AND first_seq_id <= passed_over.ceiling
             UNION ALL
            (SELECT first_seq_id, last_seq_id, arrived FROM tidemark.gap
              WHERE first_seq_id <= passed_over.floor ORDER BY first_seq_id DESC LIMIT 1))
        SELECT (range_agg(int8range(first_seq_id, last_seq_id, '[]'))
                - coalesce((SELECT range_agg(int8range(a, a, '[]')) FROM gap, unnest(arrived) AS a), '{}'))::text
          FROM gap);
END
$function$;

-- Begins a page: moves the shard's position from floor to ceiling by compare-and-swap, and sets what tidemark.batch reads.
--
-- It comes first in the page's transaction: the row lock it takes fences everything after it, so a leader that was paused and
-- wakes up cannot write. SQLSTATE TM301 says that the position was not at floor.
CREATE OR REPLACE FUNCTION tidemark.begin_page(shard text, floor bigint, ceiling bigint, types text[], durable boolean)
RETURNS void
LANGUAGE plpgsql
AS $function$
DECLARE
    found_at    bigint;
    passed_over text;
BEGIN
    UPDATE {{store}}.mt_event_progression AS p
       SET last_seq_id = begin_page.ceiling, last_updated = transaction_timestamp()
     WHERE p.name = begin_page.shard AND coalesce(p.last_seq_id, 0) = begin_page.floor;

    IF NOT FOUND THEN
        SELECT p.last_seq_id INTO found_at FROM {{store}}.mt_event_progression AS p WHERE p.name = begin_page.shard;
        RAISE EXCEPTION 'shard % expected its position at %, found it at %', shard, floor, coalesce(found_at::text, 'no row')
            USING ERRCODE = 'TM301',
                  HINT = 'Somebody else moved the position: a second daemon, a host that runs a shard of this name, or a person.';
    END IF;

    -- The lock keeps a node that is just recording a gap from deciding by what this page did not show yet. It is needed for the
    -- look alone, and is given back with the subtransaction, so that no mark ever waits for a page.
    BEGIN
        PERFORM pg_advisory_xact_lock_shared({{gap_lock}});
        passed_over := tidemark.passed_over(begin_page.floor, begin_page.ceiling);
        RAISE EXCEPTION USING ERRCODE = 'TM000', MESSAGE = 'seen';
    EXCEPTION WHEN SQLSTATE 'TM000' THEN
        NULL;
    END;

    PERFORM set_config('tidemark.floor', floor::text, true),
            set_config('tidemark.ceiling', ceiling::text, true),
            set_config('tidemark.types', coalesce(types::text, ''), true),
            set_config('tidemark.passed_over', coalesce(passed_over, ''), true),
            set_config('tidemark.parked', '', true);
    IF NOT durable THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
END
$function$;

-- Shows a page in tidemark.batch without beginning it: for a plugin, which has its page before the position moves. Returns what is
-- left out; tidemark.same_page holds that against what is left out when the position moves.
CREATE OR REPLACE FUNCTION tidemark.show_page(
    shard text, floor bigint, ceiling bigint, types text[], parks boolean, OUT passed_over text, OUT parked text)
LANGUAGE plpgsql
AS $function$
BEGIN
    passed_over := coalesce(tidemark.passed_over(floor, ceiling), '');
    parked := '';
    IF parks THEN
        SELECT coalesce(array_agg(DISTINCT d.stream_id)::text, '') INTO parked
          FROM tidemark.dead_letter AS d
         WHERE d.shard = show_page.shard AND d.stream_id IS NOT NULL AND d.class <> 'unknown-event';
    END IF;
    PERFORM set_config('tidemark.floor', floor::text, true),
            set_config('tidemark.ceiling', ceiling::text, true),
            set_config('tidemark.types', coalesce(types::text, ''), true),
            set_config('tidemark.passed_over', passed_over, true),
            set_config('tidemark.parked', parked, true);
END
$function$;

-- After begin_page, and park where streams are parked: whether the page still leaves out what it left out when it was read. An event
-- that has arrived in a gap meanwhile, or a stream whose letters were replayed, was not in what the plugin saw; SQLSTATE TM305.
CREATE OR REPLACE FUNCTION tidemark.same_page(floor bigint, ceiling bigint, passed_over text, parked text)
RETURNS void
LANGUAGE plpgsql
AS $function$
DECLARE
    page int8multirange := int8multirange(int8range(floor, ceiling, '(]'));
BEGIN
    IF coalesce(nullif(current_setting('tidemark.passed_over'), ''), '{}')::int8multirange * page
       <> coalesce(nullif(passed_over, ''), '{}')::int8multirange * page
       OR current_setting('tidemark.parked') <> parked THEN
        RAISE EXCEPTION 'the page after % is not what it was when it was read', floor
            USING ERRCODE = 'TM305', HINT = 'It is read again.';
    END IF;
END
$function$;

-- Ends the current page early, at a lower ceiling. Only inside the transaction that began the page.
CREATE OR REPLACE FUNCTION tidemark.cut_page(shard text, ceiling bigint)
RETURNS void
LANGUAGE sql
AS $function$
    UPDATE {{store}}.mt_event_progression AS p
       SET last_seq_id = cut_page.ceiling
     WHERE p.name = cut_page.shard AND p.last_seq_id >= cut_page.ceiling;
    -- What was parked beyond the new end is met again by the next page.
    DELETE FROM tidemark.dead_letter AS d
     WHERE d.shard = cut_page.shard AND d.seq_id > cut_page.ceiling AND d.class = 'parked';
    SELECT set_config('tidemark.ceiling', cut_page.ceiling::text, true);
    SELECT;
$function$;

-- Leaves out the events of streams that have an earlier dead letter of this shard, and makes dead letters of them too. After
-- begin_page, and again when letters were written in the page itself.
CREATE OR REPLACE FUNCTION tidemark.park(shard text, node text)
RETURNS bigint
LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
DECLARE
    streams text[];
    parked  bigint := 0;
BEGIN
    SELECT array_agg(DISTINCT d.stream_id) INTO streams
      FROM tidemark.dead_letter AS d
     WHERE d.shard = park.shard AND d.stream_id IS NOT NULL AND d.class <> 'unknown-event';
    IF streams IS NOT NULL THEN
        PERFORM set_config('tidemark.parked', '', true);
        INSERT INTO tidemark.dead_letter (shard, seq_id, stream_id, type, class, message, node)
        SELECT park.shard, b.seq_id, b.stream_id::text, b.type, 'parked', 'an earlier event of this stream is a dead letter', park.node
          FROM tidemark.batch AS b
         WHERE b.stream_id::text = ANY (streams)
           AND EXISTS (SELECT FROM tidemark.dead_letter AS d
                        WHERE d.shard = park.shard AND d.stream_id = b.stream_id::text AND d.seq_id < b.seq_id
                          AND d.class <> 'unknown-event')
            ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS parked = ROW_COUNT;
        PERFORM set_config('tidemark.parked', streams::text, true);
    END IF;
    RETURN parked;
END
$function$;

-- Applies the events of the current page and finds those that fail, in order, under savepoints. It returns the failing events; all
-- others are applied when it ends. How many events the page has is then in the setting tidemark.events.
--
-- statements are run by EXECUTE over ever narrower bounds of tidemark.batch; chunk is how many events halving tries together at
-- first, 0 for all. Only failures whose SQLSTATE matches a pattern of isolable are looked for; any other is raised. With park, events
-- after a failing one of the same stream are left out, and are for the caller to keep.
--
-- At first it guesses: a range that fails is cut at the row of mt_events that the statement had come to, since the server counts the
-- rows it fetches, and the count outlives the rollback. What comes before that event must turn out fine, and the event must fail
-- alone. Where nothing is counted, or a guess is wrong (a statement may read on before it computes), all is done again by halving.
CREATE OR REPLACE FUNCTION tidemark.isolate(statements text[], chunk integer, isolable text[], park boolean)
RETURNS TABLE (seq_id bigint, statement integer, code text, message text, detail text, hint text, stream_id text, type text)
LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
DECLARE
    events   bigint[];
    -- The same, with those that the page leaves out: they are fetched too.
    stored   bigint[];
    ceiling  text := current_setting('tidemark.ceiling');
    guessing boolean := true;
    -- A stack of ranges, and what is known of each before it is tried.
    los      integer[];
    his      integer[];
    known    text[];
    n        integer;
    top      integer;
    lo       integer;
    hi       integer;
    mid      integer;
    knowing  text;
    is_fine  boolean;
    step     integer;
    fetched  bigint;
    -- What failed: indexes of events, and of statements.
    failed   integer[];
    steps    integer[];
    codes    text[];
    messages text[];
    details  text[];
    hints    text[];
    -- The index by which a page reads its events in order, and by whose name the server counts them.
    by_number oid := (SELECT i.indexrelid FROM pg_catalog.pg_index AS i
                        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                       WHERE i.indrelid = {{events_literal}}::regclass AND a.attname = 'seq_id'
                       ORDER BY i.indisprimary DESC LIMIT 1);
    -- Whether any constraint may wait for COMMIT.
    may_wait boolean := EXISTS (SELECT FROM pg_catalog.pg_constraint AS c WHERE c.condeferrable);
BEGIN
    SELECT coalesce(array_agg(b.seq_id ORDER BY b.seq_id), '{}') INTO events FROM tidemark.batch AS b;
    n := cardinality(events);
    PERFORM set_config('tidemark.events', n::text, true);
    IF n = 0 THEN
        RETURN;
    END IF;
    stored := events;
    IF events[n] - events[1] >= n THEN
        SELECT coalesce(array_agg(e.seq_id ORDER BY e.seq_id), '{}') INTO stored
          FROM {{store}}.mt_events AS e WHERE e.seq_id BETWEEN events[1] AND events[n];
    END IF;
    LOOP
      BEGIN
        los := '{}'; his := '{}'; known := '{}';
        failed := '{}'; steps := '{}'; codes := '{}'; messages := '{}'; details := '{}'; hints := '{}';
        hi := n;
        WHILE hi >= 1 LOOP
            lo := CASE WHEN guessing OR chunk = 0 THEN 1 ELSE ((hi - 1) / chunk) * chunk + 1 END;
            los := los || lo; his := his || hi; known := known || 'nothing'::text;
            hi := lo - 1;
        END LOOP;

        top := cardinality(los);
        WHILE top > 0 LOOP
            lo := los[top]; hi := his[top]; knowing := known[top];
            top := top - 1;
            IF knowing <> 'it fails' THEN
                PERFORM set_config('tidemark.floor', (events[lo] - 1)::text, true),
                        set_config('tidemark.ceiling', events[hi]::text, true);
                -- Constraints that may wait for COMMIT wait for the end of the statements, where the event is still known.
                IF knowing = 'it is fine' THEN
                    -- Without a savepoint: each leaves locks behind, which make it dear to write the same rows again.
                    IF may_wait THEN
                        SET CONSTRAINTS ALL DEFERRED;
                    END IF;
                    FOR i IN 1 .. cardinality(statements) LOOP
                        EXECUTE statements[i];
                    END LOOP;
                    IF may_wait THEN
                        SET CONSTRAINTS ALL IMMEDIATE;
                    END IF;
                    CONTINUE;
                END IF;
                BEGIN
                    IF may_wait THEN
                        SET CONSTRAINTS ALL DEFERRED;
                    END IF;
                    FOR i IN 1 .. cardinality(statements) LOOP
                        step := i;
                        fetched := pg_stat_get_xact_tuples_fetched(by_number);
                        EXECUTE statements[i];
                    END LOOP;
                    IF may_wait THEN
                        SET CONSTRAINTS ALL IMMEDIATE;
                    END IF;
                    is_fine := true;
                EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
                    IF NOT SQLSTATE ~ ANY (isolable) THEN
                        RAISE;
                    END IF;
                    is_fine := false;
                    fetched := pg_stat_get_xact_tuples_fetched(by_number) - fetched;
                    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT,
                                            code = RETURNED_SQLSTATE;
                END;
                -- What failed as a whole and is fine on the left fails on the right.
                IF top > 0 AND known[top] = 'the left half is next' AND los[top] = hi + 1 THEN
                    known[top] := CASE WHEN is_fine AND his[top] > los[top] THEN 'it fails' ELSE 'nothing' END;
                END IF;
                IF is_fine AND knowing = 'it fails alone' THEN
                    RAISE EXCEPTION USING ERRCODE = 'TM000', MESSAGE = 'a wrong guess';
                ELSIF is_fine THEN
                    CONTINUE;
                ELSIF lo = hi THEN
                    failed := failed || lo; steps := steps || step; codes := codes || code; messages := messages || message;
                    details := details || detail; hints := hints || hint;
                    IF park THEN
                        SELECT e.stream_id::text INTO stream_id FROM {{store}}.mt_events AS e WHERE e.seq_id = events[lo];
                        PERFORM set_config('tidemark.parked',
                            array_append(nullif(current_setting('tidemark.parked', true), '')::text[], stream_id)::text, true)
                          WHERE stream_id IS NOT NULL;
                    END IF;
                    CONTINUE;
                END IF;
            END IF;
            IF guessing THEN
                mid := width_bucket(stored[width_bucket(events[lo], stored) + fetched - 1], events);
                IF fetched > 0 AND mid BETWEEN lo AND hi THEN
                    los[top + 1] := mid + 1; his[top + 1] := hi; known[top + 1] := 'nothing';
                    top := top + (mid < hi)::integer;
                    los[top + 1] := mid; his[top + 1] := mid; known[top + 1] := 'it fails alone';
                    top := top + 1;
                    los[top + 1] := lo; his[top + 1] := mid - 1; known[top + 1] := 'it is fine';
                    top := top + (lo < mid)::integer;
                ELSE
                    RAISE EXCEPTION USING ERRCODE = 'TM000', MESSAGE = 'no guess';
                END IF;
            ELSE
                mid := (lo + hi) / 2;
                los[top + 1] := mid + 1; his[top + 1] := hi; known[top + 1] := 'the left half is next';
                los[top + 2] := lo; his[top + 2] := mid; known[top + 2] := 'nothing';
                top := top + 2;
            END IF;
        END LOOP;
        EXIT;
      EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
        IF NOT guessing OR NOT SQLSTATE ~ ANY (isolable || '^TM000$'::text) THEN
            RAISE;
        END IF;
        guessing := false;
      END;
    END LOOP;
    -- The page's own bounds again, with the parked streams in it.
    PERFORM set_config('tidemark.floor', (events[1] - 1)::text, true), set_config('tidemark.ceiling', ceiling, true);
    RETURN QUERY
        SELECT e.seq_id, f.step, f.code, f.message, f.detail, f.hint, e.stream_id::text, e.type::text
          FROM unnest(failed, steps, codes, messages, details, hints) AS f (index, step, code, message, detail, hint)
          JOIN {{store}}.mt_events AS e ON e.seq_id = events[f.index]
         ORDER BY e.seq_id;
END
$function$;

-- Waits until a shard has applied every event appended before the call: true once it has, false after the timeout.
--
--   SELECT tidemark.wait_for('Trip:All', '5 s');
--
-- Call it after the commit of what you wrote; inside that transaction it could only wait for itself, and says so.
CREATE OR REPLACE FUNCTION tidemark.wait_for(shard text, timeout interval DEFAULT '5 s')
RETURNS boolean
LANGUAGE plpgsql
AS $function$
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
                  AND l.relation = {{sequence_literal}}::regclass) THEN
        RAISE EXCEPTION 'tidemark.wait_for was called in a transaction that has appended events itself'
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
                    USING ERRCODE = 'TM303', HINT = 'A shard is named like Trip:All. It has a position once the daemon has started it.';
            END IF;
            RETURN false;
        END IF;
        PERFORM pg_sleep(0.005);
    END LOOP;
END
$function$;

-- Appends events to a stream, in order, and returns the stream's new version and the sequence of the last event.
--
--   SELECT * FROM tidemark.append('…', '[{"type": "trip_started", "data": {"Driver": 7}}]', 0);
--
-- events is an array of objects with `type` and `data`, and where wanted `id`, `headers`, `causation_id`, `correlation_id`.
-- expected_version is the stream's version before the call, 0 for a new stream; NULL appends whatever the version is.
-- SQLSTATE TM302 says that the stream was at another version: read it again, decide again.
CREATE OR REPLACE FUNCTION tidemark.append(
    stream_id        {{stream_id_type}},
    events           jsonb,
    expected_version bigint DEFAULT NULL,
    stream_type      text DEFAULT NULL,
    tenant_id        text DEFAULT '*DEFAULT*',
    OUT version      bigint,
    OUT seq_id       bigint)
LANGUAGE plpgsql
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
