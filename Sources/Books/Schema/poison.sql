-- Handles events that fail.

-- ## FUNCTION tidemark_internal.park(text, text)
-- Leaves out the events of streams that have an earlier dead letter of this shard, and makes dead letters of them too. Call it after
-- begin_page, and again after the page itself has written letters.
CREATE OR REPLACE FUNCTION tidemark_internal.park(shard text, node text)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
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

-- ## FUNCTION tidemark_internal.isolate(text[], integer, text[], boolean, text)
-- Applies the events of the current page and finds those that fail, in order, under savepoints. It returns the failing events; all
-- others are applied when it ends. The setting tidemark.events then says how many events the page has.
--
-- path is the operator's search path, which holds while one of the operator's statements runs, and at no other time.
--
-- It runs statements by EXECUTE over ever narrower bounds of tidemark.batch; chunk is how many events halving tries together at
-- first, 0 for all. It searches only for failures whose SQLSTATE matches a pattern of isolable, and raises any other. With park, it
-- leaves out later events of a failing event's stream, and the caller must store them.
--
-- At first it guesses: it cuts a failing range at the row of mt_events that the statement had reached, since the server counts the
-- rows it fetches, and the count outlives the rollback. The events before that row must then succeed, and its event must fail alone.
-- If nothing is counted, or a guess is wrong (a statement may read ahead before it computes), everything is done again by halving.
CREATE OR REPLACE FUNCTION tidemark_internal.isolate(statements text[], chunk integer, isolable text[], park boolean, path text)
RETURNS TABLE (seq_id bigint, statement integer, code text, message text, detail text, hint text, stream_id text, type text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    events   bigint[];
    -- The same, with the events that the page leaves out, because statements fetch them too.
    stored   bigint[];
    ceiling  text := current_setting('tidemark.ceiling');
    guessing boolean := true;
    -- A stack of ranges, and what is known about each before it is tried.
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
    -- The failures: indexes of events, and of statements.
    failed   integer[];
    steps    integer[];
    codes    text[];
    messages text[];
    details  text[];
    hints    text[];
    -- The index by which a page reads its events in order, and under which the server counts them.
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
                -- Deferrable constraints are checked after the statements, while the event is still known, and not at COMMIT.
                IF knowing = 'it is fine' THEN
                    -- Without a savepoint: each leaves locks behind, which make it expensive to write the same rows again.
                    IF may_wait THEN
                        SET CONSTRAINTS ALL DEFERRED;
                    END IF;
                    FOR i IN 1 .. cardinality(statements) LOOP
                        PERFORM set_config('search_path', path, true);
                        EXECUTE statements[i];
                        SET LOCAL search_path = pg_catalog, pg_temp;
                    END LOOP;
                    IF may_wait THEN
                        PERFORM set_config('search_path', path, true);
                        SET CONSTRAINTS ALL IMMEDIATE;
                        SET LOCAL search_path = pg_catalog, pg_temp;
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
                        PERFORM set_config('search_path', path, true);
                        EXECUTE statements[i];
                        SET LOCAL search_path = pg_catalog, pg_temp;
                    END LOOP;
                    IF may_wait THEN
                        PERFORM set_config('search_path', path, true);
                        SET CONSTRAINTS ALL IMMEDIATE;
                        SET LOCAL search_path = pg_catalog, pg_temp;
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
                -- A range that failed as a whole and succeeds on the left fails on the right.
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
    -- Restore the page's own bounds; the parked streams stay set.
    PERFORM set_config('tidemark.floor', (events[1] - 1)::text, true), set_config('tidemark.ceiling', ceiling, true);
    RETURN QUERY
        SELECT e.seq_id, f.step, f.code, f.message, f.detail, f.hint, e.stream_id::text, e.type::text
          FROM unnest(failed, steps, codes, messages, details, hints) AS f (index, step, code, message, detail, hint)
          JOIN {{store}}.mt_events AS e ON e.seq_id = events[f.index]
         ORDER BY e.seq_id;
END
$function$;
