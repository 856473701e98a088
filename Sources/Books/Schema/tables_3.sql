-- Tidemark's own tables, version 3: the nodes that run shards of this store.

CREATE TABLE tidemark.node (
    name      text        PRIMARY KEY,
    version   text        NOT NULL,
    mode      text        NOT NULL,
    -- Held by the node's lock session for as long as it lives.
    lock_key  bigint      NOT NULL,
    since     timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION tidemark.is_alive(lock_key bigint) RETURNS boolean
LANGUAGE sql STABLE
AS $function$
    SELECT EXISTS (
        SELECT FROM pg_catalog.pg_locks AS l
         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
           AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
           AND (l.classid::bigint << 32 | l.objid::bigint) = is_alive.lock_key)
$function$;
