/// A row of the store that stands for many events: the host compacted a stream, deleted its events up to a version, and left in the place
/// of the last one an event of type `Compacted<Trip>`, whose data has a snapshot of the stream.
///
/// A shard that is past the row has applied those events. A shard that meets it in a page has not, and cannot any more. So the row is
/// passed only by a projection that says what it makes of it, whatever types the projection takes: the events that are gone may have been
/// of any type.
package struct CompactedRow: Hashable, Sendable {
  package var sequence: Int64
  package var stream: String?
  package var version: Int64
  package var type: String

  package init(sequence: Int64, stream: String?, version: Int64, type: String) {
    self.sequence = sequence
    self.stream = stream
    self.version = version
    self.type = type
  }

  /// What the types of such rows begin with.
  package static let prefix = "Compacted<"

  /// The type of the rows of an aggregate's streams.
  package static func type(of aggregate: String) -> String { "\(prefix)\(aggregate)>" }

  /// The aggregate of such a type: `Trip` of `Compacted<Trip>`.
  package static func aggregate(of type: String) -> String { String(type.dropFirst(prefix.count).dropLast()) }

  /// Why a shard does not pass it.
  package func problem(for definition: ProjectionDefinition) -> Problem {
    var problem = Problem(
      .raised(.compacted),
      "event \(sequence) of type \(type) stands for the events of stream \(stream ?? "NULL") up to version \(version), which the store compacted before \(definition.shard) had applied them",
      hint: Self.hint(type, definition), source: definition.source)
    problem.sequence = sequence
    return problem
  }

  /// What the operator can say of rows of a type.
  package static func hint(_ type: String, _ definition: ProjectionDefinition, isRebuild: Bool = false) -> String {
    let place =
      switch definition.effect {
      case .perEvent: "give it a statement, on.\"\(type)\""
      case .batch, .plugin: "list \"\(type)\" in \(definition.settingsKey).events"
      }
    let without =
      isRebuild
      ? ""
      : " To go on without these events, add an [[on_error]] rule with sqlstate = \"TM311\" and do = \"skip\": each row becomes a dead letter."
    return
      "To set the rows from the snapshot, \(place), and read data->'Snapshot'. If the projection has nothing to do with these streams, set accept_compacted = [\"\(aggregate(of: type))\"].\(without)"
  }
}

extension ProjectionDefinition {
  /// The types of compacted rows that pages may pass like any other event: those that it takes, and those that it accepts.
  package var passableCompacted: [String] {
    var types = acceptCompacted.map(CompactedRow.type(of:))
    if let takes {
      types += takes.filter { $0.hasPrefix(CompactedRow.prefix) }
    } else if case .batch(let statements) = effect {
      // It takes every type; a branch for this one has its name as a literal.
      for statement in statements {
        types += SQLText.literals(in: statement.text).filter { $0.hasPrefix(CompactedRow.prefix) }
      }
    }
    return types
  }
}
