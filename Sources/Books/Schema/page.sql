-- Pages of a live shard, in the schema tidemark_internal, which is on no search path.
--
-- Our functions must not pick up the caller's objects by name: all but one have a search path of their own, and set the operator's
-- around the operator's statements alone. The one says why it has none.

-- ## FUNCTION tidemark_page.tidemark_batch()
-- The rows of tidemark.batch, for the view tidemark_page.batch: by way of a function, a view does not depend on tidemark.batch, which a
-- migration may drop. The server makes it part of the statement that reads it, which it could not if it had a search path of its own.
DROP FUNCTION IF EXISTS tidemark_page.tidemark_batch() CASCADE;

CREATE FUNCTION tidemark_page.tidemark_batch()
RETURNS TABLE (seq_id bigint, id uuid, stream_id {{stream_id_type}}, version bigint, type text, data jsonb, "timestamp" timestamptz,
               tenant_id text, headers jsonb, causation_id text, correlation_id text, is_binary boolean)
LANGUAGE sql
STABLE
AS $function$
    SELECT b.seq_id::bigint, b.id::pg_catalog.uuid, b.stream_id::pg_catalog.{{stream_id_name}}, b.version::bigint, b.type,
           b.data::pg_catalog.jsonb, b."timestamp"::pg_catalog.timestamptz, b.tenant_id, b.headers, b.causation_id, b.correlation_id,
           b.is_binary
      FROM tidemark.batch AS b
$function$;

-- ## VIEW tidemark_page.batch
-- The events of the current page, as in tidemark.batch: what the name batch means in statements of projections.
--
-- Its schema comes first on their search path, and holds nothing else, so that no name of the operator's ever means a table of Tidemark's.
CREATE OR REPLACE VIEW tidemark_page.batch AS
SELECT b.seq_id, b.id, b.stream_id, b.version, b.type, b.data, b."timestamp", b.tenant_id, b.headers, b.causation_id, b.correlation_id,
       b.is_binary
  FROM tidemark_page.tidemark_batch() AS b;

-- Nobody gets more by it than by tidemark.batch, which it reads as the caller.
GRANT SELECT ON tidemark_page.batch TO PUBLIC;

-- ## FUNCTION tidemark_internal.passed_over(bigint, bigint)
-- The numbers that a page leaves out because the mark had skipped them; NULL if there are none.
--
-- A page leaves out skipped numbers, except those whose event has since arrived and was recorded: that happened under this
-- position's lock, so a shard either reads the event in a page or has a dead letter for it, never both.
-- Gaps never overlap, so at most one of them begins at or before the floor and reaches into the page.
CREATE OR REPLACE FUNCTION tidemark_internal.passed_over(floor bigint, ceiling bigint)
RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    -- In PL/pgSQL, because the server would plan a function in SQL again for each page.
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

-- ## FUNCTION tidemark_internal.hold_view()
-- Keeps the view tidemark.batch and the event table unchanged until the transaction ends, and proves that the view shows the table
-- with the store's name. SQLSTATE TM308 means that it does not: a page would miss the events of the other table.
CREATE OR REPLACE FUNCTION tidemark_internal.hold_view()
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    -- This locks the tables below the view too. A session that wants to change one of them waits for the page, or the page for it.
    LOCK TABLE tidemark.batch IN ACCESS SHARE MODE;
    IF to_regclass('tidemark_page.batch') IS NULL THEN
        RAISE EXCEPTION 'the view tidemark_page.batch is missing, by which statements find batch'
            USING ERRCODE = 'TM308', HINT = 'The daemon creates it again. If it lacks the privilege, run `tidemark init`.';
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_rewrite AS r
          JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
         WHERE r.ev_class = to_regclass('tidemark.batch') AND d.refclassid = 'pg_class'::regclass
           AND d.refobjid = to_regclass({{events_literal}}))
    THEN
        RAISE EXCEPTION 'the view tidemark.batch does not show the table %', {{events_literal}}
            USING ERRCODE = 'TM308', HINT = 'The daemon looks the store up again.';
    END IF;
EXCEPTION WHEN undefined_table OR undefined_object OR wrong_object_type THEN
    RAISE EXCEPTION 'the view tidemark.batch is missing'
        USING ERRCODE = 'TM308', HINT = 'The daemon creates it again. If it lacks the privilege, run `tidemark init`.';
END
$function$;

-- ## FUNCTION tidemark_internal.begin_page(text, bigint, bigint, text[], boolean)
-- Begins a page: moves the shard's position from floor to ceiling by compare-and-swap, and sets what tidemark.batch reads.
--
-- It comes first in the page's transaction: the row lock it takes fences everything after it, so a leader that was frozen and
-- wakes up cannot write. SQLSTATE TM301 means that the position was not at floor.
CREATE OR REPLACE FUNCTION tidemark_internal.begin_page(shard text, floor bigint, ceiling bigint, types text[], durable boolean)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    found_at    bigint;
    passed_over text;
BEGIN
    PERFORM tidemark_internal.hold_view();
    UPDATE {{store}}.mt_event_progression AS p
       SET last_seq_id = begin_page.ceiling, last_updated = transaction_timestamp()
     WHERE p.name = begin_page.shard AND coalesce(p.last_seq_id, 0) = begin_page.floor;

    IF NOT FOUND THEN
        SELECT p.last_seq_id INTO found_at FROM {{store}}.mt_event_progression AS p WHERE p.name = begin_page.shard;
        RAISE EXCEPTION 'shard % expected its position at %, found it at %', shard, floor, coalesce(found_at::text, 'no row')
            USING ERRCODE = 'TM301',
                  HINT = 'The position was moved by a second daemon, a host that runs a shard of this name, or a person.';
    END IF;

    -- Our own record moves in step: where the two differ, another program has written one of them.
    INSERT INTO tidemark.position AS o (shard, last_seq_id) VALUES (begin_page.shard, begin_page.ceiling)
        ON CONFLICT ON CONSTRAINT position_pkey DO UPDATE SET last_seq_id = excluded.last_seq_id
     WHERE o.last_seq_id = begin_page.floor AND NOT o.is_stale;
    IF NOT FOUND THEN
        SELECT o.last_seq_id INTO found_at FROM tidemark.position AS o WHERE o.shard = begin_page.shard;
        RAISE EXCEPTION 'shard % is at %, and Tidemark left it at %', shard, floor, found_at
            USING ERRCODE = 'TM301',
                  HINT = 'The position was moved by a second daemon, a host that runs a shard of this name, or a person.';
    END IF;

    -- The lock keeps another node from recording a gap while this page reads the gaps. Only the read needs it, so it ends with
    -- the subtransaction, and no mark ever waits for a page.
    BEGIN
        PERFORM pg_advisory_xact_lock_shared({{gap_lock}});
        passed_over := tidemark_internal.passed_over(begin_page.floor, begin_page.ceiling);
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

-- ## FUNCTION tidemark_internal.show_page(text, bigint, bigint, text[], boolean)
-- Shows a page in tidemark.batch without beginning it: for a plugin, which gets its page before the position moves. Returns what the
-- page leaves out; tidemark_internal.same_page compares that with what it leaves out when the position moves.
CREATE OR REPLACE FUNCTION tidemark_internal.show_page(
    shard text, floor bigint, ceiling bigint, types text[], parks boolean, OUT passed_over text, OUT parked text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    PERFORM tidemark_internal.hold_view();
    passed_over := coalesce(tidemark_internal.passed_over(floor, ceiling), '');
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

-- ## FUNCTION tidemark_internal.same_page(bigint, bigint, text, text)
-- Checks, after begin_page (and park, if streams are parked), that the page leaves out the same events as when it was read. The plugin
-- did not see an event that has arrived in a gap since, or a stream whose letters were replayed: SQLSTATE TM305.
CREATE OR REPLACE FUNCTION tidemark_internal.same_page(floor bigint, ceiling bigint, passed_over text, parked text)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    page int8multirange := int8multirange(int8range(floor, ceiling, '(]'));
BEGIN
    IF coalesce(nullif(current_setting('tidemark.passed_over'), ''), '{}')::int8multirange * page
       <> coalesce(nullif(passed_over, ''), '{}')::int8multirange * page
       OR current_setting('tidemark.parked') <> parked THEN
        RAISE EXCEPTION 'the page after % has changed since it was read', floor
            USING ERRCODE = 'TM305', HINT = 'The daemon reads it again.';
    END IF;
END
$function$;

-- ## FUNCTION tidemark_internal.compacted(bigint, bigint, text[])
-- The rows of a page that stand for compacted events, the first of each type, but for the types that the projection may pass.
--
-- Whatever types the page shows: the events that are gone may have been of any type. Its other filters hold, so that a rebuild of some
-- streams looks at these alone. It gives the page its bounds and filters back; as settings of the function itself, only a superuser could
-- name them.
CREATE OR REPLACE FUNCTION tidemark_internal.compacted(floor bigint, ceiling bigint, passable text[])
RETURNS TABLE (seq_id bigint, stream_id text, version bigint, type text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
-- A plan made while the table was small would read all of it later.
SET enable_seqscan = off
AS $function$
#variable_conflict use_column
DECLARE
    names  constant text[] := '{tidemark.floor,tidemark.ceiling,tidemark.types,tidemark.parked}';
    before constant text[] := (SELECT array_agg(coalesce(current_setting(n.name, true), '') ORDER BY n.place)
                                 FROM unnest(names) WITH ORDINALITY AS n (name, place));
BEGIN
    PERFORM set_config('tidemark.floor', compacted.floor::text, true), set_config('tidemark.ceiling', compacted.ceiling::text, true),
            set_config('tidemark.types', '', true), set_config('tidemark.parked', '', true);
    RETURN QUERY
        SELECT DISTINCT ON (b.type) b.seq_id, b.stream_id::text, b.version, b.type
          FROM tidemark.batch AS b
         WHERE b.type LIKE 'Compacted<%' AND b.type <> ALL (passable)
         ORDER BY b.type, b.seq_id;
    PERFORM set_config(s.name, s.value, true) FROM unnest(names, before) AS s (name, value);
END
$function$;

-- ## FUNCTION tidemark_internal.refuse_compacted(bigint, text[])
-- Fails a page, at its end, that has a row in place of compacted events: SQLSTATE TM311. At its end, because the store may compact a stream
-- while the page runs, and each statement sees the events of its own moment.
CREATE OR REPLACE FUNCTION tidemark_internal.refuse_compacted(floor bigint, passable text[])
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    found_at bigint;
BEGIN
    SELECT min(c.seq_id) INTO found_at
      FROM tidemark_internal.compacted(floor, current_setting('tidemark.ceiling')::bigint, passable) AS c;
    IF found_at IS NOT NULL THEN
        RAISE EXCEPTION 'event % stands for events that the store has compacted', found_at
            USING ERRCODE = 'TM311', HINT = 'The daemon applies the events before it first.';
    END IF;
END
$function$;

-- ## FUNCTION tidemark_internal.cut_page(text, bigint)
-- Ends the current page early, at a lower ceiling. Only inside the transaction that began the page.
CREATE OR REPLACE FUNCTION tidemark_internal.cut_page(shard text, ceiling bigint)
RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $function$
    UPDATE {{store}}.mt_event_progression AS p
       SET last_seq_id = cut_page.ceiling
     WHERE p.name = cut_page.shard AND p.last_seq_id >= cut_page.ceiling;
    UPDATE tidemark.position AS o
       SET last_seq_id = cut_page.ceiling
     WHERE o.shard = cut_page.shard AND o.last_seq_id >= cut_page.ceiling;
    -- The next page parks the events beyond the new end again.
    DELETE FROM tidemark.dead_letter AS d
     WHERE d.shard = cut_page.shard AND d.seq_id > cut_page.ceiling AND d.class = 'parked';
    SELECT set_config('tidemark.ceiling', cut_page.ceiling::text, true);
    SELECT;
$function$;

-- ## FUNCTION tidemark_internal.count_skipped(text, bigint)
-- Counts the events of the current page, after floor, that tidemark.batch does not show although the shard takes their types: those that
-- the store has marked as skipped, and archived ones if the projection skips these.
CREATE OR REPLACE FUNCTION tidemark_internal.count_skipped(shard text, floor bigint)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    types text[] := nullif(current_setting('tidemark.types', true), '')::text[];
BEGIN
    INSERT INTO tidemark.skipped AS s (shard, reason, events, first_seq_id, last_seq_id)
    SELECT count_skipped.shard, e.reason, count(*), min(e.seq_id), max(e.seq_id)
      FROM (SELECT e.seq_id, e.type, {{skip_reason}} AS reason FROM {{store}}.mt_events AS e
             WHERE e.seq_id > count_skipped.floor AND e.seq_id <= current_setting('tidemark.ceiling')::bigint) AS e
     WHERE e.reason IS NOT NULL AND (e.type = ANY (types)) IS NOT FALSE
     GROUP BY e.reason
        ON CONFLICT ON CONSTRAINT skipped_pkey DO UPDATE
       SET events = s.events + excluded.events, last_seq_id = greatest(s.last_seq_id, excluded.last_seq_id), last_at = now();
END
$function$;
