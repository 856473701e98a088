package import Rules

/// Something the daemon has noticed: a fact with its data. Observers decide what becomes of it.
///
/// Made by the functions beside the facts: `observer.observe(.pageApplied(shard, page, took: took))`. Event bodies and passwords are never
/// part of an observation.
package struct Observation: Sendable {
  package let fact: Fact
  package let level: LogLevel
  /// Why it did not work, where it is about a failure.
  package let failure: Failure?
  private var data: [any FilledField] = []

  /// - Parameter level: where it is not the fact's own.
  init(_ fact: Fact, _ shard: ShardName? = nil, failure: Failure? = nil, level: LogLevel? = nil) {
    assert(Fact.all.contains(fact), "\(fact) is missing in Fact.all")
    self.fact = fact
    self.level = level ?? fact.level
    self.failure = failure
    if let shard { data.append(Filled(field: .shard, value: shard)) }
  }

  /// Adds a field; one without a value shows the field's word for that.
  func with<Value>(_ field: Field<Value>, _ value: Value?) -> Self {
    var more = self
    more.data.append(Filled(field: field, value: value))
    return more
  }

  /// The value of a field; nil where this observation has none.
  package subscript<Value>(_ field: Field<Value>) -> Value? {
    for case let filled as Filled<Value> in data where filled.name == field.name { return filled.value }
    return nil
  }

  package var shard: ShardName? { self[.shard] }

  /// What the log shows: those of the failure, and the observation's own.
  package var fields: [any FilledField] { (failure?.fields ?? []) + data }
}

extension Observation: CustomStringConvertible {
  package var description: String { fields.reduce(into: fact.message) { $0 += " \($1.name)=\(quotedField($1.text))" } }
}

extension Failure {
  var fields: [any FilledField] {
    var fields: [any FilledField] = []
    func add<Value>(_ field: Field<Value>, _ value: Value?) {
      if let value { fields.append(Filled(field: field, value: value)) }
    }
    add(.error, message)
    add(.detail, detail)
    add(.hint, hint)
    add(.sqlstate, sqlState)
    add(.source, source.flatMap { $0.line > 0 ? $0 : nil })
    add(.sequence, sequence)
    return fields
  }
}

/// Why something did not work, as far as an operator can use it.
package struct Failure: Error, Sendable, Hashable, CustomStringConvertible {
  package var message: String
  package var detail: String?
  package var hint: String?
  /// PostgreSQL's five-character code, where the server said it, or one of Tidemark's own.
  package var sqlState: String?
  /// Where in the operator's files the failing statement stands.
  package var source: SourceLocation?
  /// The event that was being applied, where it is known.
  package var sequence: Int64?

  package init(
    _ message: String, detail: String? = nil, hint: String? = nil, sqlState: String? = nil,
    source: SourceLocation? = nil,
    sequence: Int64? = nil
  ) {
    self.message = message
    self.detail = detail
    self.hint = hint
    self.sqlState = sqlState
    self.source = source
    self.sequence = sequence
  }

  package var description: String {
    var text = message
    if let sqlState { text += " (\(Self.words(forCode: sqlState)))" }
    if let source, source.line > 0 { text += " at \(source)" }
    return text
  }

  /// `SQLSTATE 22012`, or `TM501`, which is nothing of PostgreSQL's.
  package static func words(forCode code: String) -> String { code.hasPrefix("TM") ? code : "SQLSTATE \(code)" }
}

extension String {
  /// The text, cut after `limit` characters: one entry of a log stays readable whatever a server or a plugin says.
  package func shortened(to limit: Int) -> String { count > limit ? prefix(limit) + " …" : self }
}
