-- What a rebuild does in the database: pages into new tables, and the exchange of new tables for old.
-- Made anew, like the view and the functions before it, whenever this text has changed.

-- Begins a page of a rebuild, as tidemark.begin_page does for a shard: moves the worker's own position by compare-and-swap, and sets
-- what tidemark.batch reads.
CREATE OR REPLACE FUNCTION tidemark.begin_rebuild_page(rebuild bigint, worker integer, floor bigint, ceiling bigint, types text[])
RETURNS void
LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
DECLARE
    left_out    int8multirange := coalesce(tidemark.passed_over(floor, ceiling)::int8multirange, '{}');
    streams     text[];
    tenants     text[];
    workers     integer;
BEGIN
    UPDATE tidemark.rebuild_worker AS w
       SET position = begin_rebuild_page.ceiling,
           passed_over = w.passed_over
               + left_out * int8multirange(int8range(begin_rebuild_page.floor, begin_rebuild_page.ceiling, '(]'))
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
            set_config('tidemark.passed_over', CASE WHEN isempty(left_out) THEN '' ELSE left_out::text END, true),
            set_config('tidemark.parked', '', true),
            set_config('tidemark.streams', coalesce(streams::text, ''), true),
            set_config('tidemark.tenants', coalesce(tenants::text, ''), true),
            set_config('tidemark.slices', CASE WHEN workers > 1 THEN workers::text ELSE '' END, true),
            set_config('tidemark.slice', worker::text, true),
            -- A crash loses the effect together with the position, and so costs a page or two, nothing else.
            set_config('synchronous_commit', 'off', true);
END
$function$;

-- Ends the current page of a rebuild early, at a lower ceiling. Only inside the transaction that began the page.
CREATE OR REPLACE FUNCTION tidemark.cut_rebuild_page(rebuild bigint, worker integer, letters text, ceiling bigint)
RETURNS void
LANGUAGE sql
AS $function$
    UPDATE tidemark.rebuild_worker AS w
       SET position = cut_rebuild_page.ceiling,
           passed_over = w.passed_over * int8multirange(int8range(NULL, cut_rebuild_page.ceiling, '(]'))
     WHERE w.rebuild = cut_rebuild_page.rebuild AND w.worker = cut_rebuild_page.worker;
    -- Of this worker's streams alone: another worker may be far ahead, and does not come back for its own.
    DELETE FROM tidemark.dead_letter AS d
     USING {{store}}.mt_events AS e, tidemark.rebuild AS r
     WHERE d.shard = cut_rebuild_page.letters AND d.seq_id > cut_rebuild_page.ceiling AND d.class = 'parked'
       AND e.seq_id = d.seq_id AND r.id = cut_rebuild_page.rebuild
       AND (r.workers = 1 OR coalesce(({{stream_hash}} & 2147483647) % r.workers, 0) = cut_rebuild_page.worker);
    SELECT set_config('tidemark.ceiling', cut_rebuild_page.ceiling::text, true);
    SELECT;
$function$;

-- Relations that the current transaction has locked although it should work on the tables in `schema` alone: those it may write, and
-- those of `originals` that it reads.
--
-- A transaction keeps every lock to its end, whatever function, trigger or rule took it, so nothing is missed that was run.
CREATE OR REPLACE FUNCTION tidemark.stray_relations(schema text, originals oid[])
RETURNS TABLE (relation text, is_written boolean)
LANGUAGE sql
AS $function$
    SELECT CASE WHEN c.oid IS NULL THEN 'one of the old tables, by dropping it' ELSE format('%I.%I', n.nspname, c.relname) END,
           bool_or(l.mode NOT IN ('AccessShareLock', 'RowShareLock'))
      FROM pg_catalog.pg_locks AS l
      -- A table that was dropped a moment ago is only a number any more.
      LEFT JOIN (pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace) ON c.oid = l.relation
     WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted
       AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
       AND (l.relation = ANY (originals)
            -- The new tables have sequences of their own; numbers drawn from or set in the old ones go with the old tables.
            OR (c.relkind = 'S' AND EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                                             WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
                                               AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = ANY (originals)
                                               AND d.deptype IN ('a', 'i')))
            OR (c.relkind IN ('r', 'p', 'f', 'm') AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
                AND n.nspname <> ALL (ARRAY[stray_relations.schema, 'tidemark', 'pg_catalog', 'pg_toast', 'information_schema'])
                AND c.relname <> 'mt_doc_deadletterevent'
                AND NOT starts_with(n.nspname, 'pg_temp_') AND NOT starts_with(n.nspname, 'pg_toast_temp_'))
            -- A table that a statement has made there in place of one that is not among those to rebuild.
            OR (n.nspname = stray_relations.schema AND c.relkind IN ('r', 'p', 'f', 'm') AND l.mode <> 'AccessShareLock'
                AND NOT EXISTS (SELECT FROM pg_catalog.pg_class AS o WHERE o.oid = ANY (originals) AND o.relname = c.relname)))
     GROUP BY 1
     ORDER BY 1
$function$;

-- Ends a page of a rebuild whose statements went past the new tables: SQLSTATE TM304.
CREATE OR REPLACE FUNCTION tidemark.refuse_strays(schema text, originals oid[])
RETURNS void
LANGUAGE plpgsql
AS $function$
DECLARE
    stray record;
BEGIN
    SELECT * INTO stray FROM tidemark.stray_relations(schema, originals) AS s ORDER BY s.is_written DESC, s.relation LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a statement, or a function or trigger it calls, % %, which a rebuild must leave alone',
                        CASE WHEN stray.is_written THEN 'writes' ELSE 'reads' END, stray.relation
            USING ERRCODE = 'TM304',
                  HINT = {{stray_hint}};
    END IF;
END
$function$;

-- Whatever a table's copy needs beyond CREATE TABLE … (LIKE … INCLUDING ALL): the names of indexes, constraints, statistics and
-- sequences, options, targets, replica identity, comments. Foreign keys, triggers and policies are left out.
CREATE OR REPLACE FUNCTION tidemark.make_shadow(original regclass, schema text)
RETURNS regclass
LANGUAGE plpgsql
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
        -- An option that a new column has by itself is the server's own, and differs from table to table.
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

-- Gives one table, or sequence, the privileges of another.
CREATE OR REPLACE FUNCTION tidemark.copy_grants(source regclass, target regclass)
RETURNS void
LANGUAGE plpgsql
AS $function$
DECLARE
    item  record;
    kind  text := CASE WHEN (SELECT c.relkind FROM pg_catalog.pg_class AS c WHERE c.oid = source) = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END;
BEGIN
    -- What default privileges may have given the new one, and, where the owner's own were narrowed, those too.
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

-- Puts the new table in the old one's place. The old one goes; its name, owner and privileges stay.
CREATE OR REPLACE FUNCTION tidemark.swap_table(original regclass, shadow regclass)
RETURNS void
LANGUAGE plpgsql
AS $function$
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
          JOIN pg_catalog.pg_class AS m ON m.oid = t.objid AND m.relkind = 'S'
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
$function$;

-- How the rows of two tables of the same shape are told apart and written: lists and conditions for the statements below, over the
-- aliases o and n. The key is the primary key, or else a unique index on columns that are never null.
CREATE OR REPLACE FUNCTION tidemark.row_parts(
    original regclass, only_column text, only_values text[],
    OUT columns text, OUT changes text, OUT has_key boolean, OUT match text, OUT same text, OUT only_old text, OUT only_new text,
    OUT is_referenced boolean)
LANGUAGE plpgsql
STABLE
AS $function$
DECLARE
    key smallint[];
    filter text;
BEGIN
    -- Without the columns that an index only includes.
    SELECT k.columns INTO key
      FROM pg_catalog.pg_index AS i,
           LATERAL (SELECT array_agg(u.number) AS columns
                      FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS u (number, place)
                     WHERE u.place <= i.indnkeyatts) AS k
     WHERE i.indrelid = original AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                        WHERE a.attrelid = original AND a.attnum = ANY (k.columns) AND NOT a.attnotnull)
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
$function$;

-- Makes the rows of the old tables those of the new ones, and touches only what differs: first takes rows out, the last table first, then
-- writes, so that each is there before what refers to it. Where other tables refer to one, a row that only changed stays and is updated.
-- Its sequences go on after both.
CREATE OR REPLACE FUNCTION tidemark.copy_rows(originals regclass[], shadows regclass[], only_column text, only_values text[])
RETURNS void
LANGUAGE plpgsql
AS $function$
DECLARE
    original regclass;
    shadow   regclass;
    p        record;
    item     record;
BEGIN
    FOR number IN REVERSE cardinality(originals) .. 1 LOOP
        original := originals[number];
        shadow := shadows[number];
        p := tidemark.row_parts(original, only_column, only_values);
        EXECUTE format('DELETE FROM %s AS o WHERE %s', original, p.only_old)
            || CASE WHEN p.has_key
                    THEN format(' AND NOT EXISTS (SELECT FROM %s AS n WHERE %s AND %s)', shadow, p.match,
                                CASE WHEN p.is_referenced THEN 'true' ELSE p.same END)
                    ELSE '' END;
    END LOOP;
    FOR number IN 1 .. cardinality(originals) LOOP
        original := originals[number];
        shadow := shadows[number];
        p := tidemark.row_parts(original, only_column, only_values);
        IF p.has_key AND p.is_referenced AND p.changes IS NOT NULL THEN
            EXECUTE format('UPDATE %s AS o SET %s FROM %s AS n WHERE %s AND NOT %s AND %s', original, p.changes, shadow, p.match, p.same,
                           p.only_old);
        END IF;
        EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s AS n WHERE %s', original, p.columns, p.columns,
                       shadow, p.only_new)
            || CASE WHEN p.has_key THEN format(' AND NOT EXISTS (SELECT FROM %s AS o WHERE %s)', original, p.match) ELSE '' END;
        FOR item IN
            SELECT * FROM (
                SELECT pg_get_serial_sequence(original::text, a.attname) AS old, pg_get_serial_sequence(shadow::text, a.attname) AS new
                  FROM (SELECT attname FROM pg_catalog.pg_attribute
                         WHERE attrelid = original AND attnum > 0 AND NOT attisdropped OFFSET 0) AS a) AS pairs
             WHERE pairs.old IS NOT NULL AND pairs.new IS NOT NULL
        LOOP
            EXECUTE format('SELECT setval(%L, n.last_value, n.is_called) FROM %s AS o, %s AS n
                             WHERE (n.last_value, n.is_called) > (o.last_value, o.is_called)', item.old, item.old, item.new);
        END LOOP;
    END LOOP;
END
$function$;

-- What would change: rows in the old table, in the new one, in one of them only, changed, and a few examples of each.
CREATE OR REPLACE FUNCTION tidemark.compare_rows(original regclass, shadow regclass, only_column text, only_values text[])
RETURNS jsonb
LANGUAGE plpgsql
AS $function$
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
                          FROM (SELECT CASE WHEN o."tidemark here" THEN to_jsonb(o.*) - ''tidemark here'' END AS o,
                                       CASE WHEN n."tidemark here" THEN to_jsonb(n.*) - ''tidemark here'' END AS n
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
$function$;

-- Brings the dead letters of a shard in line with the read model that was rebuilt up to `at`: an event was either applied to the new
-- tables, or has a letter of the rebuild, or was left out as one the mark had stepped over and keeps, or gets, the letter of its
-- late arrival. Under the lock of the shard's position, which whoever accounts for a late arrival takes too.
CREATE OR REPLACE FUNCTION tidemark.take_over_letters(rebuild bigint, shard text, letters text, types text[], at bigint)
RETURNS void
LANGUAGE plpgsql
AS $function$
DECLARE
    r tidemark.rebuild;
BEGIN
    SELECT * INTO r FROM tidemark.rebuild AS x WHERE x.id = take_over_letters.rebuild;
    DELETE FROM tidemark.dead_letter AS d
     USING {{store}}.mt_events AS e
     WHERE d.shard = take_over_letters.shard AND d.seq_id <= take_over_letters.at AND e.seq_id = d.seq_id
       AND (r.streams IS NULL OR e.stream_id::text = ANY (r.streams))
       AND (r.tenants IS NULL OR {{tenant_id}} = ANY (r.tenants))
       AND NOT EXISTS (SELECT FROM tidemark.rebuild_worker AS w
                        WHERE w.rebuild = r.id AND d.seq_id <@ w.passed_over
                          AND (r.workers = 1 OR w.worker = coalesce(({{stream_hash}} & 2147483647) % r.workers, 0)));
    UPDATE tidemark.dead_letter AS d
       SET shard = take_over_letters.shard
     WHERE d.shard = take_over_letters.letters
       AND NOT EXISTS (SELECT FROM tidemark.dead_letter AS x WHERE x.shard = take_over_letters.shard AND x.seq_id = d.seq_id);
    DELETE FROM tidemark.dead_letter AS d WHERE d.shard = take_over_letters.letters;
    INSERT INTO tidemark.dead_letter (shard, seq_id, stream_id, type, class, message, detail)
    SELECT take_over_letters.shard, e.seq_id, e.stream_id::text, e.type::text, 'late_arrival',
           {{late_arrival}},
           format('the gap was passed at %s', g.passed_at)
      FROM tidemark.gap AS g, unnest(g.arrived) AS a, {{store}}.mt_events AS e
     WHERE e.seq_id = a AND a <= take_over_letters.at AND (types IS NULL OR e.type = ANY (types)) AND {{live}}
       AND (r.streams IS NULL OR e.stream_id::text = ANY (r.streams))
       AND (r.tenants IS NULL OR {{tenant_id}} = ANY (r.tenants))
       AND EXISTS (SELECT FROM tidemark.rebuild_worker AS w
                    WHERE w.rebuild = r.id AND a <@ w.passed_over
                      AND (r.workers = 1 OR w.worker = coalesce(({{stream_hash}} & 2147483647) % r.workers, 0)))
        ON CONFLICT DO NOTHING;
END
$function$;

-- Transactions of this database that may have taken a snapshot already, by their virtual identifiers. One that has a fixed snapshot
-- would look into a table that was swapped in after it, and not see its rows.
CREATE OR REPLACE FUNCTION tidemark.snapshots()
RETURNS text[]
LANGUAGE sql
AS $function$
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
$function$;
