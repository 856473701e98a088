-- Functions that nodes need to know each other.

-- ## FUNCTION tidemark_internal.is_alive(bigint)
-- Whether a node is alive: whether its lock session holds the key.
CREATE OR REPLACE FUNCTION tidemark_internal.is_alive(lock_key bigint)
RETURNS boolean
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT EXISTS (
        SELECT FROM pg_catalog.pg_locks AS l
         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
           AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
           AND (l.classid::bigint << 32 | l.objid::bigint) = is_alive.lock_key)
$function$;
