package import Rules

/// A field of observations: its name, which the journal and the terminal show, the type of its value, and its text.
///
/// Each is declared once, below. To get the value itself, for example for a metric, ask an observation: `observation[.took]`.
package struct Field<Value: Sendable>: Sendable {
  package let name: String
  /// The text shown if there is no value.
  let absence: String
  let text: @Sendable (Value) -> String

  init(_ name: String, absence: String = "none", text: @escaping @Sendable (Value) -> String) {
    self.name = name
    self.absence = absence
    self.text = text
  }
}

/// A field of one observation, with its value.
package protocol FilledField: Sendable {
  var name: String { get }
  var text: String { get }
}

struct Filled<Value: Sendable>: FilledField {
  var field: Field<Value>
  var value: Value?

  var name: String { field.name }
  var text: String { value.map(field.text) ?? field.absence }
}

// MARK: How values read

extension Field where Value: CustomStringConvertible {
  init(_ name: String, absence: String = "none") { self.init(name, absence: absence) { $0.description } }
}

extension Field where Value: RawRepresentable<String> {
  init(_ name: String) { self.init(name) { $0.rawValue } }
}

extension Field where Value == Duration {
  init(_ name: String, absence: String = "none") { self.init(name, absence: absence) { $0.brief } }
}

extension Field {
  init<Element: CustomStringConvertible>(list name: String, separator: String = ", ") where Value == [Element] {
    self.init(name) { $0.isEmpty ? "none" : $0.map(\.description).joined(separator: separator) }
  }
}

/// A server's release, as PostgreSQL numbers it: 170004 is 17.4.
package struct ServerVersion: Hashable, Sendable, CustomStringConvertible {
  package var number: Int

  package var description: String { "\(number / 10_000).\(number % 10_000)" }
}

extension Duration {
  /// For people: `350 ms`, `1.5 s`, `42 s`, `12 min`.
  package var brief: String {
    let (seconds, attoseconds) = components
    let milliseconds = attoseconds / 1_000_000_000_000_000
    return switch seconds {
    case ..<1: "\(milliseconds) ms"
    case ..<10: milliseconds < 100 ? "\(seconds) s" : "\(seconds).\(milliseconds / 100) s"
    case ..<600: "\(seconds) s"
    case ..<7200: "\(seconds / 60) min"
    default: "\(seconds / 3600) h"
    }
  }
}

// MARK: The fields

extension Field where Value == ShardName {
  package static var shard: Field<ShardName> { Self("shard") }
}

extension Field where Value == [ShardName] {
  package static var added: Self { Self(list: "added") }
  package static var removed: Self { Self(list: "removed") }
  package static var changed: Self { Self(list: "changed") }
}

extension Field where Value == Int64 {
  package static var cache: Self { Self("cache") }
  package static var ceiling: Self { Self("ceiling") }
  package static var first: Self { Self("first") }
  package static var floor: Self { Self("floor") }
  package static var from: Self { Self("from") }
  package static var last: Self { Self("last") }
  package static var mark: Self { Self("mark", absence: "none yet") }
  package static var position: Self { Self("position", absence: "unknown") }
  package static var sequence: Self { Self("sequence") }
  /// Of a page: how many sequence numbers it spans.
  package static var width: Self { Self("width") }
}

extension Field where Value == Int {
  package static var attempt: Self { Self("attempt") }
  package static var count: Self { Self("count") }
  /// How often the numbers of the store have begun anew, and once more.
  package static var era: Self { Self("era") }
  package static var limit: Self { Self("limit") }
  package static var needed: Self { Self("needed") }
  /// How many sequence numbers.
  package static var numbers: Self { Self("numbers") }
  package static var pid: Self { Self("pid", absence: "none (a library)") }
  package static var shardCount: Self { Self("shards") }
}

extension Field where Value == Duration {
  package static var after: Self { Self("after") }
  package static var `for`: Self { Self("for", absence: "until further notice") }
  package static var retryIn: Self { Self("retry_in") }
  package static var took: Self { Self("took") }
}

extension Field where Value == Bool {
  package static var resumed: Self { Self("resumed") }
}

extension Field where Value == String {
  /// Another fact, by its sentence.
  package static var about: Self { Self("about") }
  package static var agent: Self { Self("agent") }
  package static var by: Self { Self("by") }
  package static var cause: Self { Self("cause") }
  package static var detail: Self { Self("detail") }
  package static var error: Self { Self("error") }
  package static var hint: Self { Self("hint") }
  package static var how: Self { Self("how") }
  package static var key: Self { Self("key") }
  package static var meanwhile: Self { Self("meanwhile") }
  package static var problem: Self { Self("problem") }
  package static var reason: Self { Self("reason") }
  package static var severity: Self { Self("severity") }
  package static var sqlstate: Self { Self("sqlstate") }
  package static var text: Self { Self("text") }
  package static var type: Self { Self("type") }
  package static var url: Self { Self("url") }
  package static var version: Self { Self("version") }
}

extension Field where Value == [String] {
  package static var holders: Self { Self(list: "by", separator: "; ") }
  package static var made: Self { Self(list: "made") }
  package static var nodes: Self { Self(list: "nodes") }
  package static var shards: Self { Self(list: "shards") }
  package static var undecided: Self { Self(list: "undecided") }
}

extension Field where Value == SourceLocation {
  package static var source: Self { Self("source") }
}

extension Field where Value == NodeMode {
  package static var mode: Self { Self("mode") }
}

extension Field where Value == HighWater.PassedGap.Reason {
  package static var gapReason: Self { Self("reason") }
}

extension Field where Value == RequestedWay {
  package static var way: Self { Self("way") }
}

extension Field where Value == ServerVersion {
  package static var server: Self { Self("server") }
}
