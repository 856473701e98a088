-- The functions of a rebuild: pages into new tables. exchange.sql has the exchange of new tables for old.

-- ## FUNCTION tidemark_internal.begin_rebuild_page(bigint, integer, bigint, bigint, text[])
-- Begins a page of a rebuild, as tidemark_internal.begin_page does for a shard: moves the worker's own position by compare-and-swap, and sets
-- what tidemark.batch reads.
CREATE OR REPLACE FUNCTION tidemark_internal.begin_rebuild_page(rebuild bigint, worker integer, floor bigint, ceiling bigint, types text[])
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    left_out    int8multirange := coalesce(tidemark_internal.passed_over(floor, ceiling)::int8multirange, '{}');
    streams     text[];
    tenants     text[];
    workers     integer;
BEGIN
    PERFORM tidemark_internal.hold_view();
    UPDATE tidemark.rebuild_worker AS w
       SET position = begin_rebuild_page.ceiling,
           passed_over = w.passed_over
               + left_out * int8multirange(int8range(begin_rebuild_page.floor, begin_rebuild_page.ceiling, '(]'))
     WHERE w.rebuild = begin_rebuild_page.rebuild AND w.worker = begin_rebuild_page.worker AND w.position = begin_rebuild_page.floor;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'rebuild % expected worker % at %', rebuild, worker, floor
            USING ERRCODE = 'TM301', HINT = 'Another node or command works on this rebuild, or has started it over.';
    END IF;

    SELECT r.streams, r.tenants, r.workers INTO streams, tenants, workers
      FROM tidemark.rebuild AS r WHERE r.id = begin_rebuild_page.rebuild;
    PERFORM set_config('tidemark.floor', floor::text, true),
            set_config('tidemark.ceiling', ceiling::text, true),
            set_config('tidemark.types', coalesce(types::text, ''), true),
            set_config('tidemark.passed_over', CASE WHEN isempty(left_out) THEN '' ELSE left_out::text END, true),
            set_config('tidemark.parked', '', true),
            set_config('tidemark.streams', coalesce(streams::text, ''), true),
            set_config('tidemark.tenants', coalesce(tenants::text, ''), true),
            set_config('tidemark.slices', CASE WHEN workers > 1 THEN workers::text ELSE '' END, true),
            set_config('tidemark.slice', worker::text, true),
            -- A crash loses the effect together with the position, and so costs only a page or two.
            set_config('synchronous_commit', 'off', true);
END
$function$;

-- ## FUNCTION tidemark_internal.cut_rebuild_page(bigint, integer, text, bigint)
-- Ends the current page of a rebuild early, at a lower ceiling. Only inside the transaction that began the page.
CREATE OR REPLACE FUNCTION tidemark_internal.cut_rebuild_page(rebuild bigint, worker integer, letters text, ceiling bigint)
RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $function$
    UPDATE tidemark.rebuild_worker AS w
       SET position = cut_rebuild_page.ceiling,
           passed_over = w.passed_over * int8multirange(int8range(NULL, cut_rebuild_page.ceiling, '(]'))
     WHERE w.rebuild = cut_rebuild_page.rebuild AND w.worker = cut_rebuild_page.worker;
    -- Only of this worker's streams: another worker may be far ahead, and would not park its own again.
    DELETE FROM tidemark.dead_letter AS d
     USING {{store}}.mt_events AS e, tidemark.rebuild AS r
     WHERE d.shard = cut_rebuild_page.letters AND d.seq_id > cut_rebuild_page.ceiling AND d.class = 'parked'
       AND e.seq_id = d.seq_id AND r.id = cut_rebuild_page.rebuild
       AND (r.workers = 1 OR coalesce(({{stream_hash}} & 2147483647) % r.workers, 0) = cut_rebuild_page.worker);
    SELECT set_config('tidemark.ceiling', cut_rebuild_page.ceiling::text, true);
    SELECT;
$function$;

-- ## FUNCTION tidemark_internal.stray_relations(text, oid[])
-- Relations that the current transaction has locked although it should use only the tables in `schema`: those that it writes, and
-- those of `originals` that it reads.
--
-- A transaction keeps every lock to its end, even those that functions, triggers and rules take, so this misses nothing that ran.
CREATE OR REPLACE FUNCTION tidemark_internal.stray_relations(schema text, originals oid[])
RETURNS TABLE (relation text, is_written boolean)
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT CASE WHEN c.oid IS NULL THEN 'one of the old tables, by dropping it' ELSE format('%I.%I', n.nspname, c.relname) END,
           bool_or(l.mode NOT IN ('AccessShareLock', 'RowShareLock'))
      FROM pg_catalog.pg_locks AS l
      -- Of a table that was just dropped only the number is left.
      LEFT JOIN (pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace) ON c.oid = l.relation
     WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted
       AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
       AND (l.relation = ANY (originals)
            -- The new tables have sequences of their own; the old sequences disappear with the old tables.
            OR (c.relkind = 'S' AND EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                                             WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
                                               AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = ANY (originals)
                                               AND d.deptype IN ('a', 'i')))
            OR (c.relkind IN ('r', 'p', 'f', 'm') AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
                AND n.nspname <> ALL (ARRAY[stray_relations.schema, 'tidemark', 'pg_catalog', 'pg_toast', 'information_schema'])
                AND c.relname <> 'mt_doc_deadletterevent'
                AND NOT starts_with(n.nspname, 'pg_temp_') AND NOT starts_with(n.nspname, 'pg_toast_temp_'))
            -- A table that a statement created there and that is not one of those to rebuild.
            OR (n.nspname = stray_relations.schema AND c.relkind IN ('r', 'p', 'f', 'm') AND l.mode <> 'AccessShareLock'
                AND NOT EXISTS (SELECT FROM pg_catalog.pg_class AS o WHERE o.oid = ANY (originals) AND o.relname = c.relname)))
     GROUP BY 1
     ORDER BY 1
$function$;

-- ## FUNCTION tidemark_internal.refuse_strays(text, oid[])
-- Fails a page of a rebuild whose statements used other tables than the new ones: SQLSTATE TM304.
CREATE OR REPLACE FUNCTION tidemark_internal.refuse_strays(schema text, originals oid[])
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    stray record;
BEGIN
    SELECT * INTO stray FROM tidemark_internal.stray_relations(schema, originals) AS s ORDER BY s.is_written DESC, s.relation LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a statement, or a function or trigger it calls, % %, which a rebuild must leave alone',
                        CASE WHEN stray.is_written THEN 'writes' ELSE 'reads' END, stray.relation
            USING ERRCODE = 'TM304',
                  HINT = {{stray_hint}};
    END IF;
END
$function$;

-- ## FUNCTION tidemark_internal.has_unlogged_shadow(regclass)
-- Whether a table's new table must be unlogged: if the table itself is, or if a publication covers all tables. Such a publication would
-- send the new table's rows to subscribers that have no such table, and replication would stop there.
CREATE OR REPLACE FUNCTION tidemark_internal.has_unlogged_shadow(original regclass)
RETURNS boolean
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT c.relpersistence = 'u' OR EXISTS (SELECT FROM pg_catalog.pg_publication AS p WHERE p.puballtables)
      FROM pg_catalog.pg_class AS c WHERE c.oid = original
$function$;

-- ## FUNCTION tidemark_internal.has_lost_shadows(text)
-- Whether the server has crashed since unlogged tables were created in the schema: the tables are then empty, and the workers'
-- positions no longer match.
CREATE OR REPLACE FUNCTION tidemark_internal.has_lost_shadows(schema text)
RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    is_lost boolean := false;
BEGIN
    IF to_regclass(format('%I."tidemark: not crashed"', schema)) IS NOT NULL THEN
        EXECUTE format('SELECT NOT EXISTS (SELECT FROM %I."tidemark: not crashed")', schema) INTO is_lost;
    END IF;
    RETURN is_lost;
END
$function$;

-- ## FUNCTION tidemark_internal.make_shadow(regclass, text)
-- Creates the new table for a table, with all that CREATE TABLE ... (LIKE ... INCLUDING ALL) leaves out: the names of indexes, constraints,
-- statistics and sequences, options, targets, replica identity, comments; but not foreign keys, triggers and policies. It stands in the
-- same tablespace, whatever the role's default is.
CREATE OR REPLACE FUNCTION tidemark_internal.make_shadow(original regclass, schema text)
RETURNS regclass
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET default_tablespace = ''
AS $function$
DECLARE
    source pg_catalog.pg_class;
    shadow regclass;
    item   record;
    owned  text;
    new    text;
    wanted text[] := '{}';
BEGIN
    SELECT * INTO source FROM pg_catalog.pg_class AS c WHERE c.oid = original;
    EXECUTE format('CREATE %s TABLE %I.%I (LIKE %s INCLUDING ALL)%s%s',
        CASE WHEN tidemark_internal.has_unlogged_shadow(original) THEN 'UNLOGGED' ELSE '' END, schema, source.relname, original,
        (SELECT format(' USING %I', a.amname) FROM pg_catalog.pg_am AS a WHERE a.oid = source.relam),
        (SELECT format(' TABLESPACE %I', t.spcname) FROM pg_catalog.pg_tablespace AS t WHERE t.oid = source.reltablespace));
    shadow := format('%I.%I', schema, source.relname)::regclass;
    IF tidemark_internal.has_unlogged_shadow(original) THEN
        -- This row is lost in a crash together with theirs.
        EXECUTE format('CREATE UNLOGGED TABLE IF NOT EXISTS %I."tidemark: not crashed" AS SELECT true AS holds', schema);
    END IF;

    -- LIKE creates indexes in the order of their identifiers, with names of its own. Rename them by way of names that cannot clash.
    FOR item IN
        SELECT n.relname AS made, o.relname AS wanted, row_number() OVER () AS number
          FROM (SELECT c.relname, row_number() OVER (ORDER BY i.indexrelid) AS place
                  FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
                 WHERE i.indrelid = original AND i.indislive) AS o
          JOIN (SELECT c.relname, row_number() OVER (ORDER BY i.indexrelid) AS place
                  FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
                 WHERE i.indrelid = shadow) AS n USING (place)
    LOOP
        EXECUTE format('ALTER INDEX %I.%I RENAME TO %I', schema, item.made, 'tidemark index ' || item.number);
        wanted := wanted || item.wanted::text;
    END LOOP;
    FOR number IN 1 .. cardinality(wanted) LOOP
        EXECUTE format('ALTER INDEX %I.%I RENAME TO %I', schema, 'tidemark index ' || number, wanted[number]);
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
    FOR item IN
        SELECT s.stxname AS name, s.stxstattarget AS target FROM pg_catalog.pg_statistic_ext AS s
         WHERE s.stxrelid = original AND s.stxstattarget >= 0
    LOOP
        EXECUTE format('ALTER STATISTICS %I.%I SET STATISTICS %s', schema, item.name, item.target);
    END LOOP;

    -- Sequences: an identity column already has one of its own; a serial column would draw from the original's.
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
        IF obj_description(item.sequence, 'pg_class') IS NOT NULL THEN
            EXECUTE format('COMMENT ON SEQUENCE %I.%I IS %L', schema, item.name, obj_description(item.sequence, 'pg_class'));
        END IF;
    END LOOP;

    FOR item IN
        -- Skip options that the server itself sets on a new column, which differ from table to table.
        SELECT a.attname AS column, a.attstattarget AS target,
               (SELECT string_agg(o, ', ') FROM unnest(a.attoptions) AS o
                 WHERE split_part(o, '=', 1) NOT IN (SELECT split_part(m, '=', 1) FROM unnest(b.attoptions) AS m)) AS options
          FROM pg_catalog.pg_attribute AS a
          JOIN pg_catalog.pg_attribute AS b ON b.attrelid = shadow AND b.attname = a.attname
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
$function$;

-- ## FUNCTION tidemark_internal.copy_grants(regclass, regclass)
-- Gives a table, or a sequence, the privileges of another.
CREATE OR REPLACE FUNCTION tidemark_internal.copy_grants(source regclass, target regclass)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    item  record;
    kind  text := CASE WHEN (SELECT c.relkind FROM pg_catalog.pg_class AS c WHERE c.oid = source) = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END;
BEGIN
    -- Revoke the default privileges of the new one, and, if the owner's own were restricted, those too.
    FOR item IN
        SELECT DISTINCT a.grantee FROM pg_catalog.pg_class AS c, aclexplode(c.relacl) AS a
         WHERE c.oid = target AND a.grantee <> c.relowner
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
               aclexplode(s.relacl) AS a
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
$function$;

-- ## FUNCTION tidemark_internal.known_streams(text[])
-- The streams as the store writes them, without duplicates; SQLSTATE TM306 if one is invalid, or has no event.
CREATE OR REPLACE FUNCTION tidemark_internal.known_streams(streams text[])
RETURNS text[]
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    stream text;
    wanted {{stream_id_type}};
    known  text[] := '{}';
BEGIN
    FOREACH stream IN ARRAY streams LOOP
        BEGIN
            wanted := stream;
        EXCEPTION WHEN data_exception THEN
            RAISE EXCEPTION '"%" is not the id of a stream: %', stream, SQLERRM
                USING ERRCODE = 'TM306', HINT = 'The ids of streams of this store have the type {{stream_id_type}}.';
        END;
        IF NOT EXISTS (SELECT FROM {{store}}.mt_events AS e WHERE e.stream_id = wanted) THEN
            RAISE EXCEPTION 'stream % has no events', wanted
                USING ERRCODE = 'TM306', HINT = 'Write a stream as in mt_events.stream_id. To remove rows that belong to no stream, rebuild all rows.';
        END IF;
        known := known || wanted::text;
    END LOOP;
    RETURN ARRAY(SELECT DISTINCT k FROM unnest(known) AS k ORDER BY k);
END
$function$;

-- ## FUNCTION tidemark_internal.known_tenants(text[])
-- The tenants, without duplicates; SQLSTATE TM306 if one has no event.
CREATE OR REPLACE FUNCTION tidemark_internal.known_tenants(tenants text[])
RETURNS text[]
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    tenant text;
BEGIN
    FOREACH tenant IN ARRAY tenants LOOP
        IF NOT EXISTS (SELECT FROM {{store}}.mt_events AS e WHERE {{tenant_id}} = tenant) THEN
            RAISE EXCEPTION 'tenant % has no events', tenant
                USING ERRCODE = 'TM306', HINT = 'Write a tenant as in mt_events.tenant_id. To remove rows that belong to no tenant, rebuild all rows.';
        END IF;
    END LOOP;
    RETURN ARRAY(SELECT DISTINCT t FROM unnest(tenants) AS t ORDER BY t);
END
$function$;
