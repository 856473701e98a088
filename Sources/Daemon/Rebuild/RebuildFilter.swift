package import Books
import ReadModels
package import Rules

/// Checks whether a projection can be rebuilt as requested, by its declaration and its tables.
package enum RebuildFilter {
  /// Checks the declaration alone: a plugin does not support every request.
  ///
  /// - Returns: the kind of the rebuild; new tables for a projection that is not a plugin.
  @discardableResult
  package static func check(
    _ request: RebuildTable.Request, _ definition: ProjectionDefinition
  ) throws(Problem) -> RebuildKind {
    let kind = try definition.rebuildKind()
    guard definition.plugin != nil else { return kind }
    if request.workers > 1 || request.isPartial {
      throw Problem(
        .rebuild(.plugin),
        "\(definition.shard) is a plugin: it needs all events in order, so it cannot use several workers or be rebuilt in parts",
        hint: "Omit --workers, --stream and --tenant.")
    }
    let isPlain = request.way == .auto && !request.compares && request.exchanges && request.upTo == nil
    if kind == .replay, !isPlain {
      throw Problem(
        .rebuild(.plugin),
        "\(definition.shard) has effects outside the database: a rebuild hands it every event again, and exchanges no tables",
        hint: "Omit --by, --in-place, --diff and --to.")
    }
    return kind
  }

  /// - Throws: ``Problem`` that names the missing key.
  static func check(
    _ request: RebuildTable.Request, _ definition: ProjectionDefinition, _ originals: OriginalTables
  ) throws(Problem) -> RowFilter {
    if request.workers > 1, definition.key == nil, !definition.isParallel {
      throw Problem(
        .rebuild(.noKey), "projection \(definition.name) does not declare that its streams can be rebuilt in parallel",
        hint: "Declare `key`, the column that holds the stream, or parallel = \"by-stream\"; or omit --workers.")
    }
    if request.streams != nil, request.tenants != nil {
      throw Problem(
        .rebuild(.noKey), "--stream and --tenant cannot be combined in one rebuild",
        hint: "Run one rebuild after the other.")
    }
    let part =
      request.streams.map { ("--stream", "key", definition.key, $0) }
      ?? request.tenants.map { ("--tenant", "tenant_key", definition.tenantKey, $0) }
    guard let (option, name, column, values) = part else { return RowFilter() }
    guard let column else {
      throw Problem(
        .rebuild(.noKey),
        "projection \(definition.name) does not declare the column that holds the \(option.dropFirst(2))",
        hint: "Declare \(name) = \"…\", the column of its tables; or omit \(option) and rebuild all rows.")
    }
    if let table = originals.tables.first(where: { !$0.columns.contains(column) }) {
      let alike = table.columns.first { $0.lowercased() == column.lowercased() }
      throw Problem(
        .rebuild(.noKey),
        "table \(table.declared) has no column \(column), which \(name) of projection \(definition.name) names",
        hint: alike.map { "Write it as the table has it: \(name) = \"\($0)\"." }
          ?? "Add it to every table of the projection, or omit \(option) and rebuild all rows.")
    }
    if let table = originals.tables.first(where: { !$0.numberedKeys.isEmpty }) {
      throw Problem(
        .rebuild(.noKey),
        "table \(table.declared) generates its key, \(table.numberedKeys.joined(separator: " and ")), so new rows could get the keys of rows that stay",
        hint: "Take the key from the events, such as seq_id; or omit \(option) and rebuild all rows.")
    }
    return RowFilter(column: column, values: values)
  }
}
