package import Rules

/// Something the daemon has observed: a fact with its data. Observers decide what to do with it.
///
/// The functions beside the facts make it: `observer.observe(.pageApplied(shard, page, took: took))`. An observation never contains event
/// bodies or passwords.
package struct Observation: Sendable {
  package let fact: Fact
  package let level: LogLevel
  /// The problem, if it reports a failure.
  package private(set) var failure: Problem?
  private var data: [any FilledField] = []

  /// - Parameter level: overrides the fact's own.
  init(_ fact: Fact, _ shard: ShardName? = nil, failure: Problem? = nil, level: LogLevel? = nil) {
    assert(Fact.all.contains(fact), "\(fact) is missing in Fact.all")
    self.fact = fact
    self.level = level ?? fact.level
    self.failure = failure
    if let shard { data.append(Filled(field: .shard, value: shard)) }
  }

  /// Adds a field; one without a value shows ``Field/absence``.
  func with<Value>(_ field: Field<Value>, _ value: Value?) -> Self {
    var more = self
    more.data.append(Filled(field: field, value: value))
    return more
  }

  /// Adds a field if it has a value.
  func withKnown<Value>(_ field: Field<Value>, _ value: Value?) -> Self { value.map { with(field, $0) } ?? self }

  /// Without texts that may repeat values of events.
  var withoutValues: Self {
    var plain = self
    plain.failure = failure?.withoutValues
    guard fact == .serverNotice || fact == .pluginSaid else { return plain }
    let text = Field<String>.text
    plain.data = data.map { $0.name == text.name ? Filled(field: text, value: Problem.leftOut) : $0 }
    return plain
  }

  /// The value of a field; nil if this observation has none.
  package subscript<Value>(_ field: Field<Value>) -> Value? {
    for case let filled as Filled<Value> in data where filled.name == field.name { return filled.value }
    return nil
  }

  package var shard: ShardName? { self[.shard] }

  /// The fields that the log shows: those of the failure, and the observation's own.
  package var fields: [any FilledField] { (failure?.fields ?? []) + data }
}

extension Observation: CustomStringConvertible {
  package var description: String { fields.reduce(into: fact.message) { $0 += " \($1.name)=\(quotedField($1.text))" } }
}

extension Problem {
  var fields: [any FilledField] {
    var fields: [any FilledField] = []
    func add<Value>(_ field: Field<Value>, _ value: Value?) {
      if let value { fields.append(Filled(field: field, value: value)) }
    }
    add(.error, message)
    add(.detail, detail)
    add(.hint, hint)
    add(.sqlstate, code?.text)
    add(.source, source.flatMap { $0.line > 0 ? $0 : nil })
    add(.sequence, sequence)
    return fields
  }
}
