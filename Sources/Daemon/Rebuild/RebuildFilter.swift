package import Books
import ReadModels
package import Rules

/// Whether a projection can be rebuilt in the way, and in the parts, that were asked for: what it declares, held against its tables.
package enum RebuildFilter {
  /// What a plugin cannot be asked for, whatever its tables are.
  ///
  /// - Returns: what its rebuild comes to; of any other projection, new tables.
  @discardableResult
  package static func check(
    _ request: RebuildTable.Request, _ definition: ProjectionDefinition
  ) throws(Problem) -> RebuildKind {
    let kind = try definition.rebuildKind()
    guard definition.plugin != nil else { return kind }
    if request.workers > 1 || request.isPartial {
      throw Problem(
        .rebuild(.plugin), "\(definition.shard) is a plugin, which is handed all events in order, by one hand",
        hint: "Leave --workers, --stream and --tenant out.")
    }
    let isPlain = request.way == .auto && !request.compares && request.exchanges && request.upTo == nil
    if kind == .replay, !isPlain {
      throw Problem(
        .rebuild(.plugin),
        "\(definition.shard) has its effects outside the database: it is handed every event again, and nothing is exchanged",
        hint: "Leave --by, --in-place, --diff and --to out.")
    }
    return kind
  }

  /// - Throws: ``Problem`` that names the missing key.
  static func check(
    _ request: RebuildTable.Request, _ definition: ProjectionDefinition, _ originals: OriginalTables
  ) throws(Problem) -> RowFilter {
    if request.workers > 1, definition.key == nil, !definition.isParallel {
      throw Problem(
        .rebuild(.noKey), "projection \(definition.name) does not say that its streams can be rebuilt side by side",
        hint: "Declare `key`, the column that holds the stream, or parallel = \"by-stream\"; or leave --workers out.")
    }
    if request.streams != nil, request.tenants != nil {
      throw Problem(
        .rebuild(.noKey), "a rebuild is of some streams or of some tenants, not of both",
        hint: "Say one after the other.")
    }
    let part =
      request.streams.map { ("--stream", "key", definition.key, $0) }
      ?? request.tenants.map { ("--tenant", "tenant_key", definition.tenantKey, $0) }
    guard let (option, name, column, values) = part else { return RowFilter() }
    guard let column else {
      throw Problem(
        .rebuild(.noKey),
        "projection \(definition.name) does not say in which column it holds the \(option.dropFirst(2))",
        hint: "Declare \(name) = \"…\", the column of its tables; or leave \(option) out and rebuild all rows.")
    }
    if let table = originals.tables.first(where: { !$0.columns.contains(column) }) {
      throw Problem(
        .rebuild(.noKey),
        "table \(table.declared) has no column \(column), which \(name) of projection \(definition.name) names",
        hint: "Every table of the projection needs it; or leave \(option) out and rebuild all rows.")
    }
    if let table = originals.tables.first(where: { !$0.numberedKeys.isEmpty }) {
      throw Problem(
        .rebuild(.noKey),
        "table \(table.declared) numbers its rows itself, by \(table.numberedKeys.joined(separator: " and by ")), and new rows would get the numbers of rows that stay",
        hint: "Take the key from the events, such as seq_id; or leave \(option) out and rebuild all rows.")
    }
    return RowFilter(column: column, values: values)
  }
}
