import EventStore
import Postgres
import Rules

/// The version of this program, as `tidemark.schema_number` and `tidemark.node` record it.
package let programVersion = "0.1.0"

/// One number of Tidemark's schema: the upgrade from the number before, and the programs that may run beside it.
///
/// Tables and functions share the numbers. Once a number is released, neither its upgrade nor the functions change any more: a
/// change adds a number. `SchemaNumberTests` enforces that.
package struct SchemaNumber: Sendable {
  package var number: Int
  /// What it adds, in a few words.
  package var title: String
  /// The statements that change existing tables. Missing tables have been created in their newest form before it runs, so it must do
  /// nothing to those. Empty if the number only adds tables and functions.
  package var upgrade: String
  /// The lowest number of a program that may run beside it.
  package var compatibleFrom: Int

  package init(number: Int, title: String, upgrade: String, compatibleFrom: Int) {
    self.number = number
    self.title = title
    self.upgrade = upgrade
    self.compatibleFrom = compatibleFrom
  }
}

/// The schema that a program was written for: its numbers, and its tables, view and functions at the newest number.
package struct Schema: Sendable {
  package var numbers: [SchemaNumber]
  /// Each in its newest form, below a heading that names it.
  package var tables: String
  package var objects: String
  /// The version of the program.
  package var program = programVersion

  package var number: Int { numbers.last!.number }

  /// The schema of this program.
  package static let current = Schema(
    numbers: [
      SchemaNumber(number: 1, title: "Tidemark's own tables", upgrade: "", compatibleFrom: 1),
      SchemaNumber(
        number: 2, title: "requests of operators for shards", upgrade: text(PackageResources.upgrade_2_sql),
        compatibleFrom: 2),
      SchemaNumber(number: 3, title: "the nodes", upgrade: "", compatibleFrom: 3),
      SchemaNumber(number: 4, title: "rebuilds", upgrade: "", compatibleFrom: 4),
      SchemaNumber(
        number: 5, title: "a record of schema numbers, and a schema for internal functions",
        upgrade: text(PackageResources.upgrade_5_sql), compatibleFrom: 5),
    ],
    tables: text(PackageResources.tables_sql),
    objects: [
      PackageResources.public_sql, PackageResources.page_sql, PackageResources.poison_sql, PackageResources.fleet_sql,
      PackageResources.rebuild_sql, PackageResources.exchange_sql,
    ].map(text).joined(separator: "\n"))

  private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

  /// Changes with everything that a database gets at this number.
  package var fingerprint: String {
    Fingerprint.text(
      tables + objects + numbers.map { "\($0.number) \($0.compatibleFrom) \($0.upgrade)" }.joined(separator: "\n"))
  }

  func tables(for shape: StoreShape) -> [SchemaObject] { SchemaObject.all(in: SQL.filled(tables, shape.placeholders)) }

  func objects(for shape: StoreShape) -> [SchemaObject] {
    SchemaObject.all(in: SQL.filled(objects, shape.placeholders))
  }
}

/// One of our tables, views or functions, and the script that creates it.
struct SchemaObject: Sendable, Hashable {
  enum Kind: String, Sendable {
    case table = "TABLE"
    case view = "VIEW"
    case function = "FUNCTION"
  }

  var kind: Kind
  /// With its schema, and the argument types of a function, as `to_regclass` or `to_regprocedure` reads it.
  var name: String
  /// Creates it, with its comment.
  var script: String
  /// Sets its comment.
  var commentStatement: String

  var schema: String { String(name.prefix { $0 != "." }) }
  /// The view on the event table.
  var isBatch: Bool { name == "tidemark.batch" }
  var plainName: String { String(name.dropFirst(schema.count + 1).prefix { $0 != "(" }) }
  /// A function's argument types, as PostgreSQL writes them.
  var arguments: String { String(name.drop { $0 != "(" }.dropFirst().dropLast()) }

  /// The beginning of a heading, before kind and name.
  private static let heading = "-- ## "

  /// One for each heading `-- ## KIND name`. The comment below the heading, up to the first empty line, becomes the object's COMMENT.
  static func all(in text: String) -> [SchemaObject] {
    var objects: [SchemaObject] = []
    var lines: [Substring] = []
    func end() {
      guard let first = lines.first, first.hasPrefix(heading) else { return }
      let words = first.dropFirst(heading.count).split(separator: " ", maxSplits: 1)
      guard words.count == 2, let kind = Kind(rawValue: String(words[0])) else {
        preconditionFailure("a heading names a table, a view or a function: \(first)")
      }
      let comment = lines.dropFirst().prefix { $0.hasPrefix("-- ") }.map { $0.dropFirst(3) }.joined(separator: " ")
      let body = lines.dropFirst().joined(separator: "\n").trimmed
      let statement = "COMMENT ON \(kind.rawValue) \(words[1]) IS \(SQL.quoted(literal: comment));\n"
      objects.append(
        SchemaObject(
          kind: kind, name: String(words[1]), script: "\(body)\n\n\(statement)", commentStatement: statement))
    }
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      if line.hasPrefix(heading) {
        end()
        lines = []
      }
      lines.append(line)
    }
    end()
    return objects
  }
}

extension String {
  /// Without empty lines at the end.
  fileprivate var trimmed: String {
    guard let last = lastIndex(where: { !$0.isWhitespace }) else { return "" }
    return String(self[...last])
  }
}
