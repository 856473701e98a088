import Rules
import EventStore
import Postgres

// The `.sql` files of the schema, filled in for one event store.

extension SQL {
  /// A statement of Tidemark's own text in which `{{word}}` stands for what `words` says.
  static func filled(_ template: [UInt8], _ words: [String: String]) -> String {
    filled(String(decoding: template, as: UTF8.self), words)
  }

  static func filled(_ template: String, _ words: [String: String]) -> String {
    var text = template
    for (word, value) in words {
      text = text.split(separator: "{{\(word)}}", omittingEmptySubsequences: false).joined(separator: value)
    }
    precondition(!text.contains("{{"), "every word of the template is filled in")
    return text
  }
}

extension StoreShape {
  /// What the words in double braces of the `.sql` files stand for in this store.
  var words: [String: String] {
    func column(_ name: String, type: String) -> String {
      eventColumns.contains(name) ? "e.\(name)::\(type)" : "NULL::\(type)"
    }
    let optional = [
      ("tenant_id", "append.tenant_id"), ("headers", "event -> 'headers'"),
      ("causation_id", "event ->> 'causation_id'"), ("correlation_id", "event ->> 'correlation_id'"),
    ].filter { eventColumns.contains($0.0) }
    let streamsHaveTenants = streamColumns.contains("tenant_id")
    return [
      "store": store, "events_literal": SQL.quoted(literal: "\(store).mt_events"),
      "sequence": sequence, "sequence_literal": SQL.quoted(literal: sequence),
      "stream_id_type": streamIDType,
      "stream_hash": streamIDType == "uuid" ? "uuid_hash(e.stream_id)" : "hashtext(e.stream_id)",
      "tenant_id": column("tenant_id", type: "text"), "headers": column("headers", type: "jsonb"),
      "causation_id": column("causation_id", type: "text"), "correlation_id": column("correlation_id", type: "text"),
      "live": livePredicate, "gap_lock": AdvisoryLocks.gaps,
      "late_arrival": SQL.quoted(literal: MarkTable.lateArrival), "stray_hint": SQL.quoted(literal: strayHint),
      "append_columns": optional.map { ", \($0.0)" }.joined(),
      "append_values": optional.map { ", \($0.1)" }.joined(),
      "streams_tenant_column": streamsHaveTenants ? ", tenant_id" : "",
      "streams_tenant_value": streamsHaveTenants ? ", append.tenant_id" : "",
      "streams_tenant_match": streamsHaveTenants ? " AND s.tenant_id = append.tenant_id" : "",
    ]
  }
}
