package import Postgres
package import Rules

/// Reads the events of the current page, for projections that take them one by one.
///
/// Only inside a transaction that has begun a page. The server sends only the columns that some statement binds.
package struct EventRows: Sendable {
  package var columns: [EventColumn]
  /// How many events one page may bring to this process.
  package var rowLimit: Int
  /// How many bytes, as the server stores them, one page may bring here; the first event of a page always comes, however large.
  package var byteLimit: Int

  package init(columns: Set<EventColumn>, rowLimit: Int = 2_000, byteLimit: Int = 16 << 20) {
    self.columns = EventColumn.allCases.filter(columns.contains)
    self.rowLimit = rowLimit
    self.byteLimit = byteLimit
  }

  /// Reading the data of a binary event is an error.
  private func expression(_ column: EventColumn) -> String {
    column == .data ? "CASE WHEN NOT is_binary THEN data END" : SQL.quoted(column.rawValue)
  }

  private var sizes: [String] {
    columns.filter { [.data, .headers].contains($0) }.map { column in
      let name = expression(column)
      return """
        coalesce(CASE WHEN pg_column_size(\(name)) < 2000 THEN pg_column_size(\(name)) ELSE octet_length(\(name)::text) END, 0)
        """
    }
  }

  /// `event_seq`, `event_type`, `over` and `event_binary` first, then the bound columns; `over` marks the first event beyond the limit of
  /// bytes.
  ///
  /// `pg_column_size` reads the stored size without unpacking the value; a value that is small in storage is small. A value that may be
  /// compressed is measured as the text it becomes here, and the server does not send one beyond the limit.
  package var statement: SQL {
    let size = sizes.isEmpty ? "0" : sizes.joined(separator: " + ")
    let list = columns.map { "\(expression($0)) AS \(SQL.quoted($0.rawValue))" }.joined(separator: ", ")
    return """
      SELECT event_seq, event_type, over, event_binary\(raw: columns.isEmpty ? "" : ", ")\(raw: columns.map { column in
        let name = SQL.quoted(column.rawValue)
        return "CASE WHEN NOT over THEN \(name) END AS \(name)"
      }.joined(separator: ", "))
        FROM (SELECT seq_id AS event_seq, type AS event_type, is_binary AS event_binary\(raw: list.isEmpty ? "" : ", " + list),
                     sum(\(raw: size)) OVER earlier > \(raw: "\(byteLimit)") AND row_number() OVER earlier > 1 AS over
                FROM tidemark.batch
              WINDOW earlier AS (ORDER BY seq_id)
               ORDER BY seq_id
               LIMIT \(raw: "\(rowLimit + 1)")) AS page
       ORDER BY event_seq
      """
  }
}

extension EventRows {
  /// The statement for the event of a row from ``statement``, with the row's columns as its binds.
  ///
  /// A statement that binds the data of a binary event becomes one that fails and says so.
  package func bound(_ statement: BoundStatement, to row: Row, streamIDType: String) -> SQL {
    if row.text(3) == "t", statement.columns.contains(.data) {
      let sequence = row.text(0).flatMap { Int64($0) } ?? 0
      return "SELECT \(StoreShape.binaryEvent(sequence, type: row.text(1) ?? ""))::text::integer"
    }
    return SQL(
      text: statement.text,
      binds: statement.columns.map { column in
        // After event_seq, event_type, over and event_binary.
        Bind(row.text(4 + columns.firstIndex(of: column)!), type: column.typeOID(streamIDType: streamIDType))
      })
  }
}

extension EventColumn {
  /// The type of a statement's parameter.
  package func typeOID(streamIDType: String) -> UInt32 {
    switch self {
    case .seq_id, .version: 20
    case .id: 2950
    case .stream_id: streamIDType == "uuid" ? 2950 : 25
    case .type, .tenant_id, .causation_id, .correlation_id: 25
    case .data, .headers: 3802
    case .timestamp: 1184
    }
  }
}
