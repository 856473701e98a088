/// What an operator can do about errors that are not the fault of a statement, by SQLSTATE: which setting of the server is meant, and that
/// the daemon continues by itself. The server's messages name no setting, and may be in any language.
package enum ServerHint {
  package static func of(sqlState: String) -> String? {
    switch sqlState {
    case "25006":
      "The server accepts no writes: it is a standby, or default_transaction_read_only is on, as providers set it when the storage is full. The daemon continues by itself once writes are accepted."
    case "57014":
      "If statement_timeout ended it: raise it for the daemon's role (ALTER ROLE ... SET statement_timeout), or make the statement faster. The daemon tries fewer events in a page first."
    case "25P04":
      "transaction_timeout ended the session: raise it for the daemon's role (ALTER ROLE ... SET transaction_timeout). The daemon tries fewer events in a page first."
    case "25P03":
      "idle_in_transaction_session_timeout ended the session, which waited in a transaction: the daemon, or a program it waits for, was stopped or very slow."
    case "57P05":
      "idle_session_timeout ended the session: set it to 0 for the daemon's role (ALTER ROLE ... SET idle_session_timeout = 0)."
    case "55P03":
      "Another session holds a lock on a table that this needs. In psql: SELECT pid, state, query FROM pg_stat_activity WHERE pid IN (SELECT pid FROM pg_locks WHERE mode = 'AccessExclusiveLock'); end its transaction and try again."
    case "53300":
      "Raise max_connections or the role's CONNECTION LIMIT, end other sessions, or lower database.pool_size. The daemon continues by itself."
    case "53400":
      "If temp_file_limit ended it: raise it for the daemon's role, or raise database.work_mem. The daemon tries fewer events in a page first."
    case "53100":
      "Free space on the server's disk. The daemon continues by itself."
    case "28P01":
      "Fix the password in database.password_file or database.url. The daemon reads password_file again at each attempt; for a new url, restart it."
    case "28000":
      "Let the role log in (ALTER ROLE ... LOGIN) and check pg_hba.conf, or fix the user in database.url. The daemon tries again by itself."
    case "3D000":
      "Create the database, or fix its name in database.url. The daemon tries again by itself."
    default: nil
    }
  }
}
