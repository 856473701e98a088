-- The end of a rebuild: the exchange of new tables for old, or of the rows that differ, and the comparison before it.

-- ## FUNCTION tidemark_internal.numbered_columns(regclass)
-- The columns that number a table's rows automatically: identity columns, and those that draw from a sequence they own.
CREATE OR REPLACE FUNCTION tidemark_internal.numbered_columns(original regclass)
RETURNS TABLE (number smallint)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT DISTINCT d.refobjsubid::smallint
      FROM pg_catalog.pg_depend AS d JOIN pg_catalog.pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
     WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
       AND d.refobjid = original AND d.deptype IN ('a', 'i')
$function$;

-- ## FUNCTION tidemark_internal.row_parts(regclass, boolean, text, text[])
-- How to match and write the rows of two tables of the same shape: lists and conditions for the statements below, over the aliases
-- o and n. Rows of other tables reference a row by the key that their foreign keys name, so that is the key if there is one; otherwise
-- the primary key, or else a unique index on columns that are never null. Beside a key that foreign keys name, automatic numbers stay
-- the old ones for rows that stay, and are new ones of the old table for the others: unless the projection has more tables, which may
-- hold these numbers.
CREATE OR REPLACE FUNCTION tidemark_internal.row_parts(
    original regclass, is_alone boolean, only_column text, only_values text[],
    OUT source text, OUT columns text, OUT changes text, OUT has_key boolean, OUT match text, OUT same text, OUT only_old text,
    OUT only_new text, OUT is_referenced boolean, OUT is_key_whole boolean)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    key    smallint[];
    index  oid;
    kept   smallint[];
    name   text;
    wanted text;
    equals text;
BEGIN
    -- Tables that inherit from this one have rows of their own; partitions have its rows.
    source := CASE WHEN (SELECT c.relkind FROM pg_catalog.pg_class AS c WHERE c.oid = original) = 'r' THEN 'ONLY ' ELSE '' END || original;
    -- Without the columns that an index only includes. No row references one whose key is null.
    SELECT i.indexrelid, k.columns, k.is_referenced INTO index, key, is_referenced
      FROM pg_catalog.pg_index AS i,
           LATERAL (SELECT array_agg(u.number) AS columns,
                           EXISTS (SELECT FROM pg_catalog.pg_constraint AS f
                                    WHERE f.contype = 'f' AND f.confrelid = original AND f.conindid = i.indexrelid) AS is_referenced
                      FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS u (number, place)
                     WHERE u.place <= i.indnkeyatts) AS k
     WHERE i.indrelid = original AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
       AND (k.is_referenced
            OR NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                            WHERE a.attrelid = original AND a.attnum = ANY (k.columns) AND NOT a.attnotnull))
     ORDER BY k.is_referenced DESC, i.indisprimary DESC, i.indexrelid
     LIMIT 1;
    has_key := key IS NOT NULL;
    is_referenced := coalesce(is_referenced, false);
    kept := CASE WHEN is_referenced AND is_alone THEN ARRAY(
                SELECT n.number FROM tidemark_internal.numbered_columns(original) AS n WHERE n.number <> ALL (key)) ELSE '{}' END;
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FILTER (WHERE a.attnum <> ALL (kept)),
           -- The key too: what its operator takes for equal, 1.0 and 1.00, may still be another value.
           string_agg(format('%1$I = n.%1$I', a.attname), ', ' ORDER BY a.attnum)
               FILTER (WHERE a.attidentity <> 'a' AND a.attnum <> ALL (kept)),
           -- Byte for byte, which works for every type, even one without an equality operator.
           format('pg_catalog.record_image_eq(ROW(%s), ROW(%s))',
                  string_agg('o.' || quote_ident(a.attname), ', ' ORDER BY a.attnum) FILTER (WHERE a.attnum <> ALL (kept)),
                  string_agg('n.' || quote_ident(a.attname), ', ' ORDER BY a.attnum) FILTER (WHERE a.attnum <> ALL (kept)))
      INTO columns, changes, same
      FROM pg_catalog.pg_attribute AS a
     WHERE a.attrelid = original AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '';
    -- Every column of the key, a generated one too, with the index's own operator and collation: what the index keeps apart are two rows.
    SELECT string_agg(format('o.%1$I OPERATOR(%2$I.%3$s) n.%1$I%4$s', a.attname, coalesce(s.nspname, 'pg_catalog'), coalesce(q.oprname, '='),
                             CASE WHEN i.indcollation[u.place - 1] NOT IN (0, a.attcollation)
                                  THEN (SELECT format(' COLLATE %I.%I', z.nspname, l.collname)
                                          FROM pg_catalog.pg_collation AS l JOIN pg_catalog.pg_namespace AS z ON z.oid = l.collnamespace
                                         WHERE l.oid = i.indcollation[u.place - 1])
                                  ELSE '' END), ' AND ' ORDER BY u.place)
      INTO match
      FROM pg_catalog.pg_index AS i
      JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS u (number, place) ON u.place <= i.indnkeyatts
      JOIN pg_catalog.pg_attribute AS a ON a.attrelid = original AND a.attnum = u.number
      JOIN pg_catalog.pg_opclass AS c ON c.oid = i.indclass[u.place - 1]
      -- 3 is equality.
      LEFT JOIN (pg_catalog.pg_amop AS m
                 JOIN pg_catalog.pg_operator AS q ON q.oid = m.amopopr
                 JOIN pg_catalog.pg_namespace AS s ON s.oid = q.oprnamespace)
             ON m.amopfamily = c.opcfamily AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype AND m.amopstrategy = 3
     WHERE i.indexrelid = index;
    only_old := 'true';
    only_new := 'true';
    IF only_column IS NOT NULL THEN
        -- By the column's own equality, for which there may be an index, and also exactly, as events are selected: a case-insensitive
        -- column would include rows of other streams.
        -- All names with their schemas: the statement runs with the operator's search path.
        SELECT quote_ident(a.attname), format('%L::pg_catalog.text[]::%I.%I[]', only_values, tn.nspname, t.typname),
               coalesce((SELECT format('OPERATOR(%I.%s)', s.nspname, q.oprname)
                           FROM pg_catalog.pg_opclass AS c
                           JOIN pg_catalog.pg_am AS y ON y.oid = c.opcmethod AND y.amname = 'btree'
                           JOIN pg_catalog.pg_amop AS m ON m.amopfamily = c.opcfamily AND m.amoplefttype = c.opcintype
                                                       AND m.amoprighttype = c.opcintype AND m.amopstrategy = 3
                           JOIN pg_catalog.pg_operator AS q ON q.oid = m.amopopr
                           JOIN pg_catalog.pg_namespace AS s ON s.oid = q.oprnamespace
                          WHERE c.opcdefault AND c.opcintype IN (a.atttypid, t.typbasetype) LIMIT 1), 'OPERATOR(pg_catalog.=)')
          INTO name, wanted, equals
          FROM pg_catalog.pg_attribute AS a
          JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
          JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.typnamespace
         WHERE a.attrelid = original AND a.attname = only_column AND NOT a.attisdropped;
        only_old := format('(o.%1$s %3$s ANY (%2$s) AND o.%1$s::pg_catalog.text COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) ANY (%2$s::pg_catalog.text[]))',
                           name, wanted, equals);
        only_new := format('(n.%1$s %3$s ANY (%2$s) AND n.%1$s::pg_catalog.text COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) ANY (%2$s::pg_catalog.text[]))',
                           name, wanted, equals);
    END IF;
    is_key_whole := has_key AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                                             WHERE a.attrelid = original AND a.attnum = ANY (key) AND NOT a.attnotnull);
END
$function$;

-- ## FUNCTION tidemark_internal.lock_out_readers(regclass[], interval)
-- Locks the tables against all other sessions, and waits no longer than `patience` for all of them together.
CREATE OR REPLACE FUNCTION tidemark_internal.lock_out_readers(tables regclass[], patience interval)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    deadline timestamptz := clock_timestamp() + patience;
    one      regclass;
BEGIN
    FOREACH one IN ARRAY tables LOOP
        PERFORM set_config('lock_timeout',
                           greatest(1, ceil(extract(epoch FROM deadline - clock_timestamp()) * 1000))::integer || 'ms', true);
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', one);
    END LOOP;
END
$function$;

-- ## FUNCTION tidemark_internal.swap_table(regclass, regclass)
-- Replaces the old table with the new one, which takes over its name, owner and privileges. Drops the old one.
CREATE OR REPLACE FUNCTION tidemark_internal.swap_table(original regclass, shadow regclass)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    source     pg_catalog.pg_class;
    home       text;
    item       record;
    statistics text[];
    statement  text;
BEGIN
    SELECT * INTO source FROM pg_catalog.pg_class AS c WHERE c.oid = original;
    SELECT n.nspname INTO home FROM pg_catalog.pg_namespace AS n WHERE n.oid = source.relnamespace;
    PERFORM tidemark_internal.copy_grants(original, shadow);
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
        PERFORM tidemark_internal.copy_grants(item.sequence, item.made);
    END LOOP;
    statistics := ARRAY(SELECT format('ALTER STATISTICS %I.%I OWNER TO %I; ALTER STATISTICS %1$I.%2$I SET SCHEMA %4$I',
                                      m.nspname, s.stxname, pg_get_userbyid(s.stxowner), n.nspname)
                          FROM pg_catalog.pg_statistic_ext AS s
                          JOIN pg_catalog.pg_namespace AS n ON n.oid = s.stxnamespace, pg_catalog.pg_class AS c
                          JOIN pg_catalog.pg_namespace AS m ON m.oid = c.relnamespace
                         WHERE s.stxrelid = original AND c.oid = shadow);
    EXECUTE format('DROP TABLE %s', original);
    FOREACH statement IN ARRAY statistics LOOP
        EXECUTE statement;
    END LOOP;
    EXECUTE format('ALTER TABLE %s SET SCHEMA %I', shadow, home);
    IF source.relowner <> (SELECT c.relowner FROM pg_catalog.pg_class AS c WHERE c.oid = shadow) THEN
        EXECUTE format('ALTER TABLE %s OWNER TO %I', shadow, pg_get_userbyid(source.relowner));
    END IF;
END
$function$;

-- ## FUNCTION tidemark_internal.copy_rows(regclass[], regclass[], text, text[], text)
-- Makes the rows of the old tables equal to those of the new ones, and changes only rows that differ: first deletes rows, the last table
-- first, then writes, so that each row exists before those that reference it. If other tables reference the table, a changed row is
-- updated in place. Sequences continue after the higher value of both. With single streams or tenants it never touches rows of others:
-- a new row with the key of one of theirs is an error, and so is a new row of another stream or tenant (SQLSTATE TM307). In the end it
-- compares: a table in which one row is missing, is left over or is another one fails the whole copy (SQLSTATE TM310).
--
-- path is the operator's search path, for the triggers of the tables.
CREATE OR REPLACE FUNCTION tidemark_internal.copy_rows(
    originals regclass[], shadows regclass[], only_column text, only_values text[], path text)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    original regclass;
    shadow   regclass;
    is_alone boolean := cardinality(originals) = 1;
    p        record;
    item     record;
    others   bigint;
    change   text;
    made     bigint;
    differ   bigint;
BEGIN
    FOR number IN REVERSE cardinality(originals) .. 1 LOOP
        original := originals[number];
        shadow := shadows[number];
        p := tidemark_internal.row_parts(original, is_alone, only_column, only_values);
        EXECUTE format('SELECT count(*) FROM %s AS n WHERE %s IS NOT TRUE', shadow, p.only_new) INTO others;
        IF others > 0 THEN
            RAISE EXCEPTION 'the rebuild made % rows of table % that belong to others by column %', others, original, only_column
                USING ERRCODE = 'TM307', HINT = 'The key does not tell which rows belong to which stream or tenant. Fix it, or rebuild all rows.';
        END IF;
        change := format('DELETE FROM %s AS o WHERE %s', p.source, p.only_old)
            || CASE WHEN p.has_key
                    THEN format(' AND NOT EXISTS (SELECT FROM %s AS n WHERE %s AND %s)', shadow, p.match,
                                CASE WHEN p.is_referenced THEN 'true' ELSE p.same END)
                    ELSE '' END;
        PERFORM set_config('search_path', path, true);
        EXECUTE change;
        SET LOCAL search_path = pg_catalog, pg_temp;
    END LOOP;
    FOR number IN 1 .. cardinality(originals) LOOP
        original := originals[number];
        shadow := shadows[number];
        p := tidemark_internal.row_parts(original, is_alone, only_column, only_values);
        IF p.has_key AND p.is_referenced AND p.changes IS NOT NULL THEN
            change := format('UPDATE %s AS o SET %s FROM %s AS n WHERE %s AND NOT %s AND %s', p.source, p.changes, shadow, p.match, p.same,
                             p.only_old);
            PERFORM set_config('search_path', path, true);
            EXECUTE change;
            SET LOCAL search_path = pg_catalog, pg_temp;
        END IF;
        change := format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s AS n', original, p.columns, p.columns, shadow)
            || CASE WHEN p.has_key THEN format(' WHERE NOT EXISTS (SELECT FROM %s AS o WHERE %s AND %s)', p.source, p.match, p.only_old)
                    ELSE '' END;
        PERFORM set_config('search_path', path, true);
        EXECUTE change;
        SET LOCAL search_path = pg_catalog, pg_temp;
        FOR item IN
            SELECT pairs.*, s.seqincrement > 0 AS goes_up FROM (
                SELECT pg_get_serial_sequence(original::text, a.attname) AS old, pg_get_serial_sequence(shadow::text, a.attname) AS new
                  FROM (SELECT attname FROM pg_catalog.pg_attribute
                         WHERE attrelid = original AND attnum > 0 AND NOT attisdropped OFFSET 0) AS a) AS pairs
              JOIN pg_catalog.pg_sequence AS s ON s.seqrelid = pairs.old::regclass
             WHERE pairs.new IS NOT NULL
        LOOP
            EXECUTE format('SELECT setval(%L, n.last_value, n.is_called) FROM %s AS o, %s AS n
                             WHERE n.last_value %s o.last_value OR (n.last_value = o.last_value AND n.is_called > o.is_called)',
                           item.old, item.old, item.new, CASE WHEN item.goes_up THEN '>' ELSE '<' END);
        END LOOP;
    END LOOP;
    FOR number IN 1 .. cardinality(originals) LOOP
        original := originals[number];
        -- A rule, or a trigger before the row, may keep rows out on purpose, from pages as from this copy.
        CONTINUE WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger AS t
                               WHERE t.tgrelid = original AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 3 = 3)
                   OR EXISTS (SELECT FROM pg_catalog.pg_rewrite AS w WHERE w.ev_class = original);
        SELECT c.old, c.new INTO others, made FROM tidemark_internal.count_rows(original, shadows[number], only_column, only_values) AS c;
        p := tidemark_internal.row_parts(original, is_alone, only_column, only_values);
        -- Where a key meets one row at most on either side, as many rows on both sides with one for each are the same rows.
        EXECUTE CASE
            WHEN p.is_key_whole
            THEN format('SELECT count(*) FROM %s AS o WHERE %s AND NOT EXISTS (SELECT FROM %s AS n WHERE %s AND %s)',
                        p.source, p.only_old, shadows[number], p.match, p.same)
            ELSE format('SELECT count(*) FROM (SELECT ROW(%1$s)::text FROM %2$s AS o WHERE %3$s
                                               EXCEPT ALL SELECT ROW(%1$s)::text FROM %4$s AS n) AS x',
                        p.columns, p.source, p.only_old, shadows[number])
            END INTO differ;
        IF others <> made OR differ > 0 THEN
            RAISE EXCEPTION 'table % has % rows after the copy, of which % differ from the % that the rebuild made', original, others, differ, made
                USING ERRCODE = 'TM310',
                      HINT = 'Nothing was changed. If a trigger of the table changes rows after they are written, disable it, rebuild, and '
                             'enable it again. Otherwise rebuild with --in-place, and report this as a bug.';
        END IF;
    END LOOP;
END
$function$;

-- ## FUNCTION tidemark_internal.compare_rows(regclass, regclass, boolean, text, text[])
-- Counts rows in the old table, in the new one, in only one of them, and changed ones, and gives a few examples of each difference.
CREATE OR REPLACE FUNCTION tidemark_internal.compare_rows(
    original regclass, shadow regclass, is_alone boolean, only_column text, only_values text[])
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    p        record := tidemark_internal.row_parts(original, is_alone, only_column, only_values);
    pairs    text;
    result   jsonb;
    examples jsonb;
BEGIN
    IF p.has_key THEN
        pairs := format('(SELECT o.*, true AS "tidemark here" FROM %s AS o WHERE %s) AS o
                        FULL JOIN (SELECT n.*, true AS "tidemark here" FROM %s AS n WHERE %s) AS n ON %s',
                       p.source, p.only_old, shadow, p.only_new, p.match);
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
                       p.columns, p.source, shadow, p.only_old, p.only_new) INTO result;
        examples := '[]';
    END IF;
    RETURN result || jsonb_build_object('table', original::text, 'examples', examples);
END
$function$;

-- ## FUNCTION tidemark_internal.count_rows(regclass, regclass, text, text[])
-- Counts the rows of the old table and of the new one that a rebuild covers.
CREATE OR REPLACE FUNCTION tidemark_internal.count_rows(
    original regclass, shadow regclass, only_column text, only_values text[], OUT old bigint, OUT new bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    p record := tidemark_internal.row_parts(original, true, only_column, only_values);
BEGIN
    EXECUTE format('SELECT (SELECT count(*) FROM %s AS o WHERE %s), (SELECT count(*) FROM %s AS n WHERE %s)', p.source, p.only_old, shadow,
                   p.only_new) INTO old, new;
END
$function$;

-- ## FUNCTION tidemark_internal.take_over_letters(bigint, text, text, text[], bigint)
-- Brings the dead letters of a shard in line with the read model rebuilt up to `at`: each event was either applied to the new tables, or
-- has a letter of the rebuild, or was left out because the mark had skipped it; then it keeps, or gets, the letter of its late arrival.
-- Call it under the lock of the shard's position, which a node that records a late arrival takes too.
CREATE OR REPLACE FUNCTION tidemark_internal.take_over_letters(rebuild bigint, shard text, letters text, types text[], at bigint)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    r tidemark.rebuild;
BEGIN
    SELECT * INTO r FROM tidemark.rebuild AS x WHERE x.id = take_over_letters.rebuild;
    -- Events that the store has removed since, or compacted, are in no stream any more.
    DELETE FROM tidemark.dead_letter AS d
     WHERE d.shard = take_over_letters.shard AND d.seq_id <= take_over_letters.at AND r.streams IS NULL AND r.tenants IS NULL
       AND NOT EXISTS (SELECT FROM {{store}}.mt_events AS e WHERE e.seq_id = d.seq_id);
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

-- ## FUNCTION tidemark_internal.snapshots()
-- Transactions of this database that may already have a snapshot, by their virtual identifiers. One with a fixed snapshot would read a
-- table swapped in after it, and not see its rows.
CREATE OR REPLACE FUNCTION tidemark_internal.snapshots()
RETURNS text[]
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT coalesce(array_agg(l.virtualtransaction), '{}')
      FROM pg_catalog.pg_locks AS l
      JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
     WHERE l.locktype = 'virtualxid' AND l.granted AND l.pid <> pg_backend_pid() AND a.datname = current_database()
       -- The server hides the state of other roles' sessions from a role that may not read all statistics.
       AND (a.backend_xmin IS NOT NULL OR a.state IS NULL)
       AND coalesce(a.backend_type, 'client backend') = 'client backend'
       -- The lock sessions of nodes only wait, and read no table.
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_locks AS k JOIN tidemark.node AS n
                                ON n.lock_key = (k.classid::bigint << 32 | k.objid::bigint)
                        WHERE k.pid = l.pid AND k.locktype = 'advisory' AND k.granted)
$function$;
