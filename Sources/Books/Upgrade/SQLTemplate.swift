import Rules
import EventStore
import Postgres

// The `.sql` files of the schema, filled in for one event store.

extension SQL {
  /// A template with each `{{name}}` replaced by its value in `placeholders`.
  static func filled(_ template: [UInt8], _ placeholders: [String: String]) -> String {
    filled(String(decoding: template, as: UTF8.self), placeholders)
  }

  static func filled(_ template: String, _ placeholders: [String: String]) -> String {
    var text = template
    for (name, value) in placeholders {
      text = text.split(separator: "{{\(name)}}", omittingEmptySubsequences: false).joined(separator: value)
    }
    precondition(!text.contains("{{"), "the template has no other placeholder")
    return text
  }
}

extension StoreShape {
  /// The values of the `.sql` files' placeholders for this store.
  var placeholders: [String: String] {
    func column(_ name: String, type: String) -> String {
      eventColumns.contains(name) ? "e.\(name)::\(type)" : "NULL::\(type)"
    }
    let optional = [
      ("tenant_id", "append.tenant_id"), ("headers", "event -> 'headers'"),
      ("causation_id", "event ->> 'causation_id'"), ("correlation_id", "event ->> 'correlation_id'"),
    ].filter { eventColumns.contains($0.0) }
    let hasBinary = eventColumns.contains("bdata")
    let streamsHaveTenants = streamColumns.contains("tenant_id")
    return [
      "store": store, "events_literal": SQL.quoted(literal: "\(store).mt_events"),
      "sequence": sequence, "sequence_literal": SQL.quoted(literal: sequence),
      "stream_id_type": streamIDType, "stream_id_name": streamIDType == "character varying" ? "varchar" : streamIDType,
      "stream_hash": streamIDType == "uuid" ? "uuid_hash(e.stream_id)" : "hashtext(e.stream_id)",
      // A cast that fails raises the error without a function, which each reader of the view would need the privilege to execute.
      "data": hasBinary
        ? "CASE WHEN e.bdata IS NULL THEN e.data::jsonb ELSE to_jsonb((\(StoreShape.binaryEvent(ofColumns: "e")))::integer) END"
        : "e.data::jsonb",
      "is_binary": hasBinary ? "e.bdata IS NOT NULL" : "false",
      "tenant_id": column("tenant_id", type: "text"), "headers": column("headers", type: "jsonb"),
      "causation_id": column("causation_id", type: "text"), "correlation_id": column("correlation_id", type: "text"),
      "live": livePredicate, "skip_reason": skipReason, "gap_lock": AdvisoryLocks.gaps,
      "late_arrival": SQL.quoted(literal: MarkTable.lateArrival), "stray_hint": SQL.quoted(literal: strayHint),
      "append_columns": optional.map { ", \($0.0)" }.joined(),
      "append_values": optional.map { ", \($0.1)" }.joined(),
      "streams_tenant_column": streamsHaveTenants ? ", tenant_id" : "",
      "streams_tenant_value": streamsHaveTenants ? ", append.tenant_id" : "",
      "streams_tenant_match": streamsHaveTenants ? " AND s.tenant_id = append.tenant_id" : "",
    ]
  }
}
