package import Rules

/// Something the daemon has noticed: a fact with its data. Observers decide what becomes of it.
///
/// Made by the functions beside the facts: `observer.observe(.pageApplied(shard, page, took: took))`. Event bodies and passwords are never
/// part of an observation.
package struct Observation: Sendable {
  package let fact: Fact
  package let level: LogLevel
  /// Why it did not work, where it is about a failure.
  package let failure: Problem?
  private var data: [any FilledField] = []

  /// - Parameter level: where it is not the fact's own.
  init(_ fact: Fact, _ shard: ShardName? = nil, failure: Problem? = nil, level: LogLevel? = nil) {
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
