-- The schema tidemark at number 4, as the first program of that number made it (commit ea6f97b), with rows, on the store of marten.sql.
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

CREATE FUNCTION tidemark.begin_rebuild_page(rebuild bigint, worker integer, floor bigint, ceiling bigint, types text[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
DECLARE
    passed_over int8multirange;
    streams     text[];
    tenants     text[];
    workers     integer;
BEGIN
    SELECT coalesce(range_agg(int8range(g.first_seq_id, g.last_seq_id, '[]')), '{}') INTO passed_over
      FROM tidemark.gap AS g
     WHERE g.last_seq_id > begin_rebuild_page.floor AND g.first_seq_id <= begin_rebuild_page.ceiling;
    SELECT passed_over - coalesce(range_agg(int8range(a, a, '[]')), '{}') INTO passed_over
      FROM tidemark.gap AS g, unnest(g.arrived) AS a
     WHERE g.last_seq_id > begin_rebuild_page.floor AND g.first_seq_id <= begin_rebuild_page.ceiling;

    UPDATE tidemark.rebuild_worker AS w
       SET position = begin_rebuild_page.ceiling,
           passed_over = w.passed_over
               + passed_over * int8multirange(int8range(begin_rebuild_page.floor, begin_rebuild_page.ceiling, '(]'))
     WHERE w.rebuild = begin_rebuild_page.rebuild AND w.worker = begin_rebuild_page.worker AND w.position = begin_rebuild_page.floor;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'rebuild % expected worker % at %', rebuild, worker, floor
            USING ERRCODE = 'TM301', HINT = 'Somebody else works on this rebuild, or it was begun anew.';
    END IF;

    SELECT r.streams, r.tenants, r.workers INTO streams, tenants, workers
      FROM tidemark.rebuild AS r WHERE r.id = begin_rebuild_page.rebuild;
    PERFORM set_config('tidemark.floor', floor::text, true),
            set_config('tidemark.ceiling', ceiling::text, true),
            set_config('tidemark.types', coalesce(types::text, ''), true),
            set_config('tidemark.passed_over', passed_over::text, true),
            set_config('tidemark.parked', '', true),
            set_config('tidemark.streams', coalesce(streams::text, ''), true),
            set_config('tidemark.tenants', coalesce(tenants::text, ''), true),
            set_config('tidemark.slices', CASE WHEN workers > 1 THEN workers::text ELSE '' END, true),
            set_config('tidemark.slice', worker::text, true),
            -- A crash loses the effect together with the position, and so costs a page or two, nothing else.
            set_config('synchronous_commit', 'off', true);
END
$$;

CREATE FUNCTION tidemark.compare_rows(original regclass, shadow regclass, only_column text, only_values text[]) RETURNS jsonb
    LANGUAGE plpgsql
    AS $_$
DECLARE
    p        record := tidemark.row_parts(original, only_column, only_values);
    pairs    text;
    result   jsonb;
    examples jsonb;
BEGIN
    IF p.has_key THEN
        pairs := format('(SELECT o.*, true AS "tidemark here" FROM %s AS o WHERE %s) AS o
                        FULL JOIN (SELECT n.*, true AS "tidemark here" FROM %s AS n WHERE %s) AS n ON %s',
                       original, p.only_old, shadow, p.only_new, p.match);
        EXECUTE format('SELECT jsonb_build_object(''old'', count(o."tidemark here"), ''new'', count(n."tidemark here"),
                               ''only_old'', count(*) FILTER (WHERE n."tidemark here" IS NULL),
                               ''only_new'', count(*) FILTER (WHERE o."tidemark here" IS NULL),
                               ''changed'', count(*) FILTER (WHERE o."tidemark here" AND n."tidemark here" AND NOT %s))
                          FROM %s', p.same, pairs) INTO result;
        EXECUTE format('SELECT coalesce(jsonb_agg(jsonb_build_object(''old'', e.o, ''new'', e.n)), ''[]'')
                          FROM (SELECT CASE WHEN o."tidemark here" THEN to_jsonb(o) - ''tidemark here'' END AS o,
                                       CASE WHEN n."tidemark here" THEN to_jsonb(n) - ''tidemark here'' END AS n
                                  FROM %s
                                 WHERE o."tidemark here" IS NULL OR n."tidemark here" IS NULL OR NOT %s LIMIT 10) AS e', pairs, p.same)
           INTO examples;
    ELSE
        EXECUTE format('WITH o AS (SELECT ROW(%1$s)::text AS row FROM %2$s AS o WHERE %4$s),
                             n AS (SELECT ROW(%1$s)::text AS row FROM %3$s AS n WHERE %5$s)
                        SELECT jsonb_build_object(''old'', (SELECT count(*) FROM o), ''new'', (SELECT count(*) FROM n),
                               ''only_old'', (SELECT count(*) FROM (TABLE o EXCEPT ALL TABLE n) AS x),
                               ''only_new'', (SELECT count(*) FROM (TABLE n EXCEPT ALL TABLE o) AS x), ''changed'', 0)',
                       p.columns, original, shadow, p.only_old, p.only_new) INTO result;
        examples := '[]';
    END IF;
    RETURN result || jsonb_build_object('table', original::text, 'examples', examples);
END
$_$;

CREATE FUNCTION tidemark.copy_grants(source regclass, target regclass) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    item  record;
    kind  text := CASE WHEN (SELECT c.relkind FROM pg_catalog.pg_class AS c WHERE c.oid = source) = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END;
BEGIN
    -- What default privileges may have given the new one, and, where the owner's own were narrowed, those too.
    FOR item IN
        SELECT DISTINCT a.grantee FROM pg_catalog.pg_class AS c, aclexplode(c.relacl) AS a WHERE c.oid = target
         UNION
        SELECT c.relowner FROM pg_catalog.pg_class AS c
         WHERE c.oid = target AND EXISTS (SELECT FROM pg_catalog.pg_class AS s WHERE s.oid = source AND s.relacl IS NOT NULL)
    LOOP
        EXECUTE format('REVOKE ALL ON %s %s FROM %s', kind, target,
            CASE WHEN item.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(item.grantee)) END);
    END LOOP;
    FOR item IN
        SELECT a.privilege_type AS privilege, a.is_grantable, NULL AS column,
               CASE WHEN a.grantee = s.relowner THEN t.relowner ELSE a.grantee END AS grantee
          FROM pg_catalog.pg_class AS s, pg_catalog.pg_class AS t,
               aclexplode(coalesce(s.relacl, acldefault(CASE WHEN s.relkind = 'S' THEN 's' ELSE 'r' END::"char", s.relowner))) AS a
         WHERE s.oid = source AND t.oid = target
         UNION ALL
        SELECT a.privilege_type, a.is_grantable, format(' (%I)', c.attname),
               CASE WHEN a.grantee = s.relowner THEN t.relowner ELSE a.grantee END
          FROM pg_catalog.pg_class AS s, pg_catalog.pg_class AS t, pg_catalog.pg_attribute AS c, aclexplode(c.attacl) AS a
         WHERE s.oid = source AND t.oid = target AND c.attrelid = source AND NOT c.attisdropped
    LOOP
        EXECUTE format('GRANT %s%s ON %s %s TO %s%s', item.privilege, item.column, kind, target,
            CASE WHEN item.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(item.grantee)) END,
            CASE WHEN item.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
    END LOOP;
END
$$;

CREATE FUNCTION tidemark.cut_page(shard text, ceiling bigint) RETURNS void
    LANGUAGE sql
    AS $$
    UPDATE "public".mt_event_progression AS p
       SET last_seq_id = cut_page.ceiling
     WHERE p.name = cut_page.shard AND p.last_seq_id >= cut_page.ceiling;
    -- What was parked beyond the new end is met again by the next page.
    DELETE FROM tidemark.dead_letter AS d
     WHERE d.shard = cut_page.shard AND d.seq_id > cut_page.ceiling AND d.class = 'parked';
    SELECT set_config('tidemark.ceiling', cut_page.ceiling::text, true);
    SELECT;
$$;

CREATE FUNCTION tidemark.cut_rebuild_page(rebuild bigint, worker integer, letters text, ceiling bigint) RETURNS void
    LANGUAGE sql
    AS $$
    UPDATE tidemark.rebuild_worker AS w
       SET position = cut_rebuild_page.ceiling,
           passed_over = w.passed_over * int8multirange(int8range(NULL, cut_rebuild_page.ceiling, '(]'))
     WHERE w.rebuild = cut_rebuild_page.rebuild AND w.worker = cut_rebuild_page.worker;
    DELETE FROM tidemark.dead_letter AS d
     WHERE d.shard = cut_rebuild_page.letters AND d.seq_id > cut_rebuild_page.ceiling AND d.class = 'parked';
    SELECT set_config('tidemark.ceiling', cut_rebuild_page.ceiling::text, true);
    SELECT;
$$;

CREATE FUNCTION tidemark.is_alive(lock_key bigint) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
    SELECT EXISTS (
        SELECT FROM pg_catalog.pg_locks AS l
         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
           AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
           AND (l.classid::bigint << 32 | l.objid::bigint) = is_alive.lock_key)
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
    -- Whether any constraint may wait for COMMIT.
    may_wait boolean := EXISTS (SELECT FROM pg_catalog.pg_constraint AS c WHERE c.condeferrable);
BEGIN
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
                -- Constraints that may wait for COMMIT wait for the end of the statements, where the event is still known.
                IF may_wait THEN
                    SET CONSTRAINTS ALL DEFERRED;
                END IF;
                FOR i IN 1 .. cardinality(statements) LOOP
                    step := i;
                    EXECUTE statements[i];
                END LOOP;
                IF may_wait THEN
                    SET CONSTRAINTS ALL IMMEDIATE;
                END IF;
                is_fine := true;
            EXCEPTION WHEN OTHERS OR ASSERT_FAILURE THEN
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
                IF park AND stream_id IS NOT NULL THEN
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

CREATE FUNCTION tidemark.make_shadow(original regclass, schema text) RETURNS regclass
    LANGUAGE plpgsql
    AS $$
DECLARE
    source pg_catalog.pg_class;
    shadow regclass;
    item   record;
    owned  text;
    new    text;
BEGIN
    SELECT * INTO source FROM pg_catalog.pg_class AS c WHERE c.oid = original;
    EXECUTE format('CREATE %s TABLE %I.%I (LIKE %s INCLUDING ALL)%s%s',
        CASE WHEN source.relpersistence = 'u' THEN 'UNLOGGED' ELSE '' END, schema, source.relname, original,
        (SELECT format(' USING %I', a.amname) FROM pg_catalog.pg_am AS a WHERE a.oid = source.relam),
        (SELECT format(' TABLESPACE %I', t.spcname) FROM pg_catalog.pg_tablespace AS t WHERE t.oid = source.reltablespace));
    shadow := format('%I.%I', schema, source.relname)::regclass;

    -- LIKE makes indexes in the order of their identifiers, with names of its own. By way of names that cannot clash.
    FOR item IN
        SELECT n.relname AS made, o.relname AS wanted, row_number() OVER () AS number
          FROM (SELECT c.relname, row_number() OVER (ORDER BY i.indexrelid) AS place
                  FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
                 WHERE i.indrelid = original AND i.indislive) AS o
          JOIN (SELECT c.relname, row_number() OVER (ORDER BY i.indexrelid) AS place
                  FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
                 WHERE i.indrelid = shadow) AS n USING (place)
    LOOP
        EXECUTE format('ALTER INDEX %I.%I RENAME TO %I', schema, item.made, 'tidemark index ' || item.wanted);
    END LOOP;
    FOR item IN
        SELECT c.relname AS made, substr(c.relname, length('tidemark index ') + 1) AS wanted
          FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
         WHERE i.indrelid = shadow
    LOOP
        EXECUTE format('ALTER INDEX %I.%I RENAME TO %I', schema, item.made, item.wanted);
    END LOOP;
    FOR item IN
        SELECT n.stxname AS made, o.stxname AS wanted
          FROM (SELECT s.stxname, row_number() OVER (ORDER BY s.oid) AS place
                  FROM pg_catalog.pg_statistic_ext AS s WHERE s.stxrelid = original) AS o
          JOIN (SELECT s.stxname, row_number() OVER (ORDER BY s.oid) AS place
                  FROM pg_catalog.pg_statistic_ext AS s WHERE s.stxrelid = shadow) AS n USING (place)
         WHERE n.stxname <> o.stxname
    LOOP
        EXECUTE format('ALTER STATISTICS %I.%I RENAME TO %I', schema, item.made, item.wanted);
    END LOOP;

    -- Sequences: an identity column has one of its own already; a serial one would draw from the original's.
    FOR item IN
        SELECT s.oid::regclass AS sequence, s.relname AS name, a.attname AS column, d.deptype = 'i' AS is_identity,
               pg_catalog.pg_get_expr(e.adbin, e.adrelid) AS expression, p.*, format_type(p.seqtypid, NULL) AS type
          FROM pg_catalog.pg_depend AS d
          JOIN pg_catalog.pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
          JOIN pg_catalog.pg_sequence AS p ON p.seqrelid = s.oid
          JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
          LEFT JOIN pg_catalog.pg_attrdef AS e ON e.adrelid = a.attrelid AND e.adnum = a.attnum
         WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
           AND d.refobjid = original AND d.deptype IN ('a', 'i')
    LOOP
        IF item.is_identity THEN
            SELECT c.relname INTO owned FROM pg_catalog.pg_class AS c
             WHERE c.oid = pg_get_serial_sequence(format('%I.%I', schema, source.relname), item.column)::regclass;
            IF owned <> item.name THEN
                EXECUTE format('ALTER SEQUENCE %I.%I RENAME TO %I', schema, owned, item.name);
            END IF;
        ELSE
            new := format('%I.%I', schema, item.name);
            EXECUTE format('CREATE SEQUENCE %s AS %s INCREMENT %s MINVALUE %s MAXVALUE %s START %s CACHE %s %s OWNED BY %s.%I',
                new, item.type, item.seqincrement, item.seqmin, item.seqmax, item.seqstart, item.seqcache,
                CASE WHEN item.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END, shadow, item.column);
            IF item.expression IS NOT NULL THEN
                EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT %s', shadow, item.column,
                    replace(item.expression, quote_literal(item.sequence::text) || '::regclass', quote_literal(new) || '::regclass'));
            END IF;
        END IF;
    END LOOP;

    FOR item IN
        SELECT a.attname AS column, a.attstattarget AS target, array_to_string(a.attoptions, ', ') AS options
          FROM pg_catalog.pg_attribute AS a
         WHERE a.attrelid = original AND a.attnum > 0 AND NOT a.attisdropped
    LOOP
        IF item.target >= 0 THEN
            EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s', shadow, item.column, item.target);
        END IF;
        IF item.options <> '' THEN
            EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET (%s)', shadow, item.column, item.options);
        END IF;
    END LOOP;
    FOR item IN
        SELECT c.relname AS index, a.attnum AS number, a.attstattarget AS target
          FROM pg_catalog.pg_index AS i
          JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
          JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indexrelid
         WHERE i.indrelid = original AND a.attstattarget >= 0 AND a.attnum > 0
    LOOP
        EXECUTE format('ALTER INDEX %I.%I ALTER COLUMN %s SET STATISTICS %s', schema, item.index, item.number, item.target);
    END LOOP;

    FOR item IN
        SELECT array_to_string(c.reloptions, ', ') AS options,
               (SELECT string_agg('toast.' || o, ', ') FROM pg_catalog.pg_class AS t, unnest(t.reloptions) AS o
                 WHERE t.oid = c.reltoastrelid) AS toast
          FROM pg_catalog.pg_class AS c WHERE c.oid = original AND c.relkind = 'r'
    LOOP
        IF concat(item.options, item.toast) <> '' THEN
            EXECUTE format('ALTER TABLE %s SET (%s)', shadow, concat_ws(', ', nullif(item.options, ''), item.toast));
        END IF;
    END LOOP;
    IF source.relreplident IN ('n', 'f') THEN
        EXECUTE format('ALTER TABLE %s REPLICA IDENTITY %s', shadow, CASE source.relreplident WHEN 'n' THEN 'NOTHING' ELSE 'FULL' END);
    END IF;
    FOR item IN
        SELECT c.relname AS index, i.indisreplident AS is_identity, i.indisclustered AS is_clustered
          FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
         WHERE i.indrelid = original
    LOOP
        IF item.is_identity THEN
            EXECUTE format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', shadow, item.index);
        END IF;
        IF item.is_clustered THEN
            EXECUTE format('ALTER TABLE %s CLUSTER ON %I', shadow, item.index);
        END IF;
    END LOOP;

    IF obj_description(original, 'pg_class') IS NOT NULL THEN
        EXECUTE format('COMMENT ON TABLE %s IS %L', shadow, obj_description(original, 'pg_class'));
    END IF;
    FOR item IN
        SELECT k.conname AS name, obj_description(k.oid, 'pg_constraint') AS comment
          FROM pg_catalog.pg_constraint AS k
         WHERE k.conrelid = original AND k.contype IN ('p', 'u', 'x', 'c') AND obj_description(k.oid, 'pg_constraint') IS NOT NULL
    LOOP
        EXECUTE format('COMMENT ON CONSTRAINT %I ON %s IS %L', item.name, shadow, item.comment);
    END LOOP;
    RETURN shadow;
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
$$;

CREATE FUNCTION tidemark.refuse_strays(schema text, originals oid[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    stray record;
BEGIN
    SELECT * INTO stray FROM tidemark.stray_relations(schema, originals) AS s ORDER BY s.is_written DESC, s.relation LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a statement, or a function or trigger it calls, % %, which a rebuild must leave alone',
                        CASE WHEN stray.is_written THEN 'writes' ELSE 'reads' END, stray.relation
            USING ERRCODE = 'TM304',
                  HINT = 'Name tables without their schema, and every table that is written in `tables`; or rebuild with --in-place.';
    END IF;
END
$$;

CREATE FUNCTION tidemark.remove_rows(original regclass, shadow regclass, only_column text, only_values text[]) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
DECLARE
    p record := tidemark.row_parts(original, only_column, only_values);
    n bigint;
BEGIN
    EXECUTE format('DELETE FROM %s AS o WHERE %s', original, p.only_old)
        || CASE WHEN p.has_key
                THEN format(' AND NOT EXISTS (SELECT FROM %s AS n WHERE %s AND %s)', shadow, p.match,
                            CASE WHEN p.is_referenced THEN 'true' ELSE p.same END)
                ELSE '' END;
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN n;
END
$$;

CREATE FUNCTION tidemark.row_parts(original regclass, only_column text, only_values text[], OUT columns text, OUT changes text, OUT has_key boolean, OUT match text, OUT same text, OUT only_old text, OUT only_new text, OUT is_referenced boolean) RETURNS record
    LANGUAGE plpgsql STABLE
    AS $_$
DECLARE
    key smallint[];
    filter text;
BEGIN
    SELECT i.indkey::smallint[] INTO key
      FROM pg_catalog.pg_index AS i
     WHERE i.indrelid = original AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                        WHERE a.attrelid = original AND a.attnum = ANY (i.indkey::smallint[]) AND NOT a.attnotnull)
     ORDER BY i.indisprimary DESC, i.indexrelid
     LIMIT 1;
    has_key := key IS NOT NULL;
    is_referenced := EXISTS (SELECT FROM pg_catalog.pg_constraint AS k WHERE k.contype = 'f' AND k.confrelid = original);
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum),
           string_agg(format('%1$I = n.%1$I', a.attname), ', ' ORDER BY a.attnum)
               FILTER (WHERE a.attidentity <> 'a' AND (key IS NULL OR a.attnum <> ALL (key))),
           string_agg(format('o.%1$I = n.%1$I', a.attname), ' AND ') FILTER (WHERE a.attnum = ANY (key)),
           -- Byte for byte: it holds for every type, also for those without an equality of their own.
           format('record_image_eq(ROW(%s), ROW(%s))', string_agg('o.' || quote_ident(a.attname), ', ' ORDER BY a.attnum),
                  string_agg('n.' || quote_ident(a.attname), ', ' ORDER BY a.attnum))
      INTO columns, changes, match, same
      FROM pg_catalog.pg_attribute AS a
     WHERE a.attrelid = original AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '';
    filter := 'true';
    IF only_column IS NOT NULL THEN
        SELECT format('%%s.%I = ANY (%L::text[]::%s[])', a.attname, only_values, format_type(a.atttypid, NULL)) INTO filter
          FROM pg_catalog.pg_attribute AS a
         WHERE a.attrelid = original AND a.attname = only_column AND NOT a.attisdropped;
    END IF;
    only_old := replace(filter, '%s', 'o');
    only_new := replace(filter, '%s', 'n');
END
$_$;

CREATE FUNCTION tidemark.snapshots() RETURNS text[]
    LANGUAGE sql
    AS $$
    SELECT coalesce(array_agg(l.virtualtransaction), '{}')
      FROM pg_catalog.pg_locks AS l
      JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
     WHERE l.locktype = 'virtualxid' AND l.granted AND l.pid <> pg_backend_pid() AND a.datname = current_database()
       -- What another role's session does is hidden from those who may not see all statistics.
       AND (a.backend_xmin IS NOT NULL OR a.state IS NULL)
       AND coalesce(a.backend_type, 'client backend') = 'client backend'
       -- The sessions by which nodes are known wait on the server and read no table.
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_locks AS k JOIN tidemark.node AS n
                                ON n.lock_key = (k.classid::bigint << 32 | k.objid::bigint)
                        WHERE k.pid = l.pid AND k.locktype = 'advisory' AND k.granted)
$$;

CREATE FUNCTION tidemark.stray_relations(schema text, originals oid[]) RETURNS TABLE(relation text, is_written boolean)
    LANGUAGE sql
    AS $$
    SELECT format('%I.%I', n.nspname, c.relname), bool_or(l.mode NOT IN ('AccessShareLock', 'RowShareLock'))
      FROM pg_catalog.pg_locks AS l
      JOIN pg_catalog.pg_class AS c ON c.oid = l.relation
      JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
     WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted
       AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
       AND c.relkind IN ('r', 'p', 'f', 'm')
       AND (c.oid = ANY (originals)
            OR (l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
                AND n.nspname <> ALL (ARRAY[stray_relations.schema, 'tidemark', 'pg_catalog', 'pg_toast', 'information_schema'])
                AND c.relname <> 'mt_doc_deadletterevent'
                AND NOT starts_with(n.nspname, 'pg_temp_') AND NOT starts_with(n.nspname, 'pg_toast_temp_')))
     GROUP BY n.nspname, c.relname
     ORDER BY 1
$$;

CREATE FUNCTION tidemark.swap_table(original regclass, shadow regclass) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    source pg_catalog.pg_class;
    home   text;
    item   record;
BEGIN
    SELECT * INTO source FROM pg_catalog.pg_class AS c WHERE c.oid = original;
    SELECT n.nspname INTO home FROM pg_catalog.pg_namespace AS n WHERE n.oid = source.relnamespace;
    PERFORM tidemark.copy_grants(original, shadow);
    FOR item IN
        SELECT d.objid::regclass AS sequence, t.objid::regclass AS made
          FROM pg_catalog.pg_depend AS d
          JOIN pg_catalog.pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
          JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
          JOIN pg_catalog.pg_attribute AS b ON b.attrelid = shadow AND b.attname = a.attname
          JOIN pg_catalog.pg_depend AS t ON t.refobjid = shadow AND t.refobjsubid = b.attnum AND t.classid = d.classid
                                        AND t.refclassid = d.refclassid AND t.deptype = d.deptype
         WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
           AND d.refobjid = original AND d.deptype IN ('a', 'i')
    LOOP
        PERFORM tidemark.copy_grants(item.sequence, item.made);
    END LOOP;
    EXECUTE format('DROP TABLE %s', original);
    FOR item IN
        SELECT n.nspname AS schema, s.stxname AS name
          FROM pg_catalog.pg_statistic_ext AS s JOIN pg_catalog.pg_namespace AS n ON n.oid = s.stxnamespace
         WHERE s.stxrelid = shadow
    LOOP
        EXECUTE format('ALTER STATISTICS %I.%I SET SCHEMA %I', item.schema, item.name, home);
    END LOOP;
    EXECUTE format('ALTER TABLE %s SET SCHEMA %I', shadow, home);
    IF source.relowner <> (SELECT c.relowner FROM pg_catalog.pg_class AS c WHERE c.oid = shadow) THEN
        EXECUTE format('ALTER TABLE %s OWNER TO %I', shadow, pg_get_userbyid(source.relowner));
    END IF;
END
$$;

CREATE FUNCTION tidemark.take_over_letters(rebuild bigint, shard text, letters text, types text[], at bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    r tidemark.rebuild;
BEGIN
    SELECT * INTO r FROM tidemark.rebuild AS x WHERE x.id = take_over_letters.rebuild;
    DELETE FROM tidemark.dead_letter AS d
     USING "public".mt_events AS e
     WHERE d.shard = take_over_letters.shard AND d.seq_id <= take_over_letters.at AND e.seq_id = d.seq_id
       AND (r.streams IS NULL OR e.stream_id::text = ANY (r.streams))
       AND (r.tenants IS NULL OR e.tenant_id::text = ANY (r.tenants))
       AND NOT EXISTS (SELECT FROM tidemark.rebuild_worker AS w
                        WHERE w.rebuild = r.id AND d.seq_id <@ w.passed_over
                          AND (r.workers = 1 OR w.worker = coalesce((uuid_hash(e.stream_id) & 2147483647) % r.workers, 0)));
    UPDATE tidemark.dead_letter AS d
       SET shard = take_over_letters.shard
     WHERE d.shard = take_over_letters.letters
       AND NOT EXISTS (SELECT FROM tidemark.dead_letter AS x WHERE x.shard = take_over_letters.shard AND x.seq_id = d.seq_id);
    DELETE FROM tidemark.dead_letter AS d WHERE d.shard = take_over_letters.letters;
    INSERT INTO tidemark.dead_letter (shard, seq_id, stream_id, type, class, message, detail)
    SELECT take_over_letters.shard, e.seq_id, e.stream_id::text, e.type::text, 'late_arrival',
           'the event became visible after the high-water mark had stepped over its number',
           format('the gap was passed at %s', g.passed_at)
      FROM tidemark.gap AS g, unnest(g.arrived) AS a, "public".mt_events AS e
     WHERE e.seq_id = a AND a <= take_over_letters.at AND (types IS NULL OR e.type = ANY (types)) AND true AND e.is_archived IS NOT TRUE AND (e.type <> 'tombstone' OR e.mt_dotnet_type IS NULL OR e.mt_dotnet_type NOT LIKE '%.Tombstone, %')
       AND (r.streams IS NULL OR e.stream_id::text = ANY (r.streams))
       AND (r.tenants IS NULL OR e.tenant_id::text = ANY (r.tenants))
       AND EXISTS (SELECT FROM tidemark.rebuild_worker AS w
                    WHERE w.rebuild = r.id AND a <@ w.passed_over
                      AND (r.workers = 1 OR w.worker = coalesce((uuid_hash(e.stream_id) & 2147483647) % r.workers, 0)))
        ON CONFLICT DO NOTHING;
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

CREATE FUNCTION tidemark.write_rows(original regclass, shadow regclass, only_column text, only_values text[]) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
DECLARE
    p     record := tidemark.row_parts(original, only_column, only_values);
    item  record;
    n     bigint := 0;
    total bigint := 0;
BEGIN
    IF p.has_key AND p.is_referenced AND p.changes IS NOT NULL THEN
        EXECUTE format('UPDATE %s AS o SET %s FROM %s AS n WHERE %s AND NOT %s AND %s', original, p.changes, shadow, p.match, p.same,
                       p.only_old);
        GET DIAGNOSTICS total = ROW_COUNT;
    END IF;
    EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s AS n WHERE %s', original, p.columns, p.columns, shadow,
                   p.only_new)
        || CASE WHEN p.has_key THEN format(' AND NOT EXISTS (SELECT FROM %s AS o WHERE %s)', original, p.match) ELSE '' END;
    GET DIAGNOSTICS n = ROW_COUNT;
    FOR item IN
        SELECT pg_get_serial_sequence(original::text, a.attname) AS old, pg_get_serial_sequence(shadow::text, a.attname) AS new
          FROM pg_catalog.pg_attribute AS a
         WHERE a.attrelid = original AND a.attnum > 0 AND NOT a.attisdropped
           AND pg_get_serial_sequence(original::text, a.attname) IS NOT NULL
           AND pg_get_serial_sequence(shadow::text, a.attname) IS NOT NULL
    LOOP
        EXECUTE format('SELECT setval(%L, n.last_value, n.is_called) FROM %s AS o, %s AS n
                         WHERE (n.last_value, n.is_called) > (o.last_value, o.is_called)', item.old, item.old, item.new);
    END LOOP;
    RETURN total + n;
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
  WHERE ((e.seq_id > (NULLIF(current_setting('tidemark.floor'::text, true), ''::text))::bigint) AND (e.seq_id <= (NULLIF(current_setting('tidemark.ceiling'::text, true), ''::text))::bigint) AND ((( SELECT NULLIF(current_setting('tidemark.types'::text, true), ''::text) AS "nullif") IS NULL) OR ((e.type)::text = ANY (( SELECT (NULLIF(current_setting('tidemark.types'::text, true), ''::text))::text[] AS "nullif")::text[]))) AND (( SELECT (concat(current_setting('tidemark.parked'::text, true), current_setting('tidemark.passed_over'::text, true), current_setting('tidemark.streams'::text, true), current_setting('tidemark.tenants'::text, true), current_setting('tidemark.slices'::text, true)) = ''::text)) OR (((( SELECT NULLIF(current_setting('tidemark.parked'::text, true), ''::text) AS "nullif") IS NULL) OR (e.stream_id IS NULL) OR (NOT ((e.stream_id)::text = ANY (( SELECT (NULLIF(current_setting('tidemark.parked'::text, true), ''::text))::text[] AS "nullif")::text[])))) AND ((( SELECT NULLIF(current_setting('tidemark.passed_over'::text, true), ''::text) AS "nullif") IS NULL) OR (NOT (e.seq_id <@ ( SELECT (NULLIF(current_setting('tidemark.passed_over'::text, true), ''::text))::int8multirange AS "nullif")))) AND ((( SELECT NULLIF(current_setting('tidemark.streams'::text, true), ''::text) AS "nullif") IS NULL) OR ((e.stream_id)::text = ANY (( SELECT (NULLIF(current_setting('tidemark.streams'::text, true), ''::text))::text[] AS "nullif")::text[]))) AND ((( SELECT NULLIF(current_setting('tidemark.tenants'::text, true), ''::text) AS "nullif") IS NULL) OR ((e.tenant_id)::text = ANY (( SELECT (NULLIF(current_setting('tidemark.tenants'::text, true), ''::text))::text[] AS "nullif")::text[]))) AND ((( SELECT NULLIF(current_setting('tidemark.slices'::text, true), ''::text) AS "nullif") IS NULL) OR (COALESCE(((uuid_hash(e.stream_id) & 2147483647) % ( SELECT (NULLIF(current_setting('tidemark.slices'::text, true), ''::text))::integer AS "nullif")), 0) = ( SELECT (NULLIF(current_setting('tidemark.slice'::text, true), ''::text))::integer AS "nullif"))))) AND true AND (e.is_archived IS NOT TRUE) AND (((e.type)::text <> 'tombstone'::text) OR (e.mt_dotnet_type IS NULL) OR ((e.mt_dotnet_type)::text !~~ '%.Tombstone, %'::text)));

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

CREATE TABLE tidemark.node (
    name text NOT NULL,
    version text NOT NULL,
    mode text NOT NULL,
    lock_key bigint NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL,
    shards text[]
);

CREATE TABLE tidemark.rebuild (
    shard text NOT NULL,
    id bigint NOT NULL,
    state text DEFAULT 'asked'::text NOT NULL,
    by_node boolean NOT NULL,
    is_aborting boolean DEFAULT false NOT NULL,
    asked_by text NOT NULL,
    asked_at timestamp with time zone DEFAULT now() NOT NULL,
    way text NOT NULL,
    chosen_way text,
    way_reason text,
    compares boolean DEFAULT false NOT NULL,
    exchanges boolean DEFAULT true NOT NULL,
    up_to bigint,
    workers integer DEFAULT 1 NOT NULL,
    streams text[],
    tenants text[],
    fingerprint text NOT NULL,
    shape text,
    schema text,
    "position" bigint DEFAULT 0 NOT NULL,
    target bigint,
    node text,
    error text,
    hint text,
    comparison jsonb,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    CONSTRAINT rebuild_workers_check CHECK ((workers > 0))
);

ALTER TABLE tidemark.rebuild ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME tidemark.rebuild_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE tidemark.rebuild_worker (
    rebuild bigint NOT NULL,
    worker integer NOT NULL,
    "position" bigint DEFAULT 0 NOT NULL,
    passed_over int8multirange DEFAULT '{}'::int8multirange NOT NULL
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

INSERT INTO tidemark.installation VALUES (true, 4, 'public', 'marten', '2308253ef20cb661', '2026-11-21 10:00:00+00', '2026-11-21 10:00:00+00');

INSERT INTO tidemark.node VALUES ('old/1', '0.1.0', 'hotcold', 1234567890123, '2026-11-21 10:00:00+00', NULL);

INSERT INTO tidemark.rebuild OVERRIDING SYSTEM VALUE VALUES ('Other:All', 1, 'done', true, false, 'anna', '2026-11-21 10:00:00+00', 'auto', 'swap', 'nothing else hangs on the tables', false, true, NULL, 1, NULL, NULL, 'fedcba9876543210', NULL, NULL, 8, 8, 'old/1', NULL, NULL, NULL, '2026-11-21 10:00:00+00', '2026-11-21 10:00:01+00');

INSERT INTO tidemark.shard VALUES ('Other:All', 'following', NULL, 0, 'old/1', '2026-11-21 10:00:00+00', '2026-11-21 10:05:00+00', 'stop', NULL, 'anna', 3, NULL);
INSERT INTO tidemark.shard VALUES ('All:All', 'following', NULL, 12.5, 'old/1', '2026-11-21 10:00:00+00', '2026-11-21 10:05:00+00', 'run', NULL, NULL, 0, '0123456789abcdef');

SELECT pg_catalog.setval('tidemark.rebuild_id_seq', 1, true);

ALTER TABLE ONLY tidemark.dead_letter
    ADD CONSTRAINT dead_letter_pkey PRIMARY KEY (shard, seq_id);

ALTER TABLE ONLY tidemark.gap
    ADD CONSTRAINT gap_pkey PRIMARY KEY (first_seq_id);

ALTER TABLE ONLY tidemark.high_water
    ADD CONSTRAINT high_water_pkey PRIMARY KEY (singleton);

ALTER TABLE ONLY tidemark.installation
    ADD CONSTRAINT installation_pkey PRIMARY KEY (singleton);

ALTER TABLE ONLY tidemark.node
    ADD CONSTRAINT node_pkey PRIMARY KEY (name);

ALTER TABLE ONLY tidemark.rebuild
    ADD CONSTRAINT rebuild_id_key UNIQUE (id);

ALTER TABLE ONLY tidemark.rebuild
    ADD CONSTRAINT rebuild_pkey PRIMARY KEY (shard);

ALTER TABLE ONLY tidemark.rebuild_worker
    ADD CONSTRAINT rebuild_worker_pkey PRIMARY KEY (rebuild, worker);

ALTER TABLE ONLY tidemark.shard
    ADD CONSTRAINT shard_pkey PRIMARY KEY (name);

CREATE INDEX dead_letter_stream ON tidemark.dead_letter USING btree (shard, stream_id, seq_id);

ALTER TABLE ONLY tidemark.rebuild_worker
    ADD CONSTRAINT rebuild_worker_rebuild_fkey FOREIGN KEY (rebuild) REFERENCES tidemark.rebuild(id) ON DELETE CASCADE;
