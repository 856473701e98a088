/// Judges whether the proof of the mark holds for an event table, by the catalog's facts alone.
///
/// The proof needs one thing: each visible number was drawn from one sequence, by the transaction that inserted it, while that transaction
/// held the sequence's lock on this server. Whatever can break that is refused, or accepted by the operator by name. What weakens a promise
/// without breaking the proof is a warning.
package struct Preflight: Sendable, Hashable {
  package enum Outcome: Sendable, Hashable {
    /// No shard runs.
    case refuse
    /// No shard runs unless `event_store.accept` has this word.
    case ask(Acceptance)
    /// Shards run; the log and `check` say it.
    case warn
  }

  /// What an operator may accept in `event_store.accept`.
  package enum Acceptance: String, CaseIterable, Sendable, Hashable {
    case increment
    case insertTriggers = "insert-triggers"
    case leafDefaults = "leaf-defaults"

    /// A sentence for the manual.
    package var meaning: String {
      switch self {
      case .increment: "Every number is drawn from the sequence, though it has an INCREMENT above 1."
      case .insertTriggers:
        "BEFORE INSERT triggers and INSERT rules on the event table keep the number that the writer drew."
      case .leafDefaults: "No writer inserts into a partition that has another default for the number."
      }
    }
  }

  package struct Finding: Sendable, Hashable {
    package var outcome: Outcome
    package var message: String
    package var hint: String

    static func refuse(_ message: String, _ hint: String) -> Finding {
      Finding(outcome: .refuse, message: message, hint: hint)
    }
    static func warn(_ message: String, _ hint: String) -> Finding {
      Finding(outcome: .warn, message: message, hint: hint)
    }
    static func ask(_ word: Acceptance, _ message: String, _ hint: String) -> Finding {
      Finding(
        outcome: .ask(word), message: message,
        hint: "\(hint) Where that is known to be harmless, set event_store.accept = [\"\(word.rawValue)\"].")
    }
  }

  package var findings: [Finding] = []
  /// What is proven and by what, in one line.
  package var verdict: String

  /// Those that keep every shard from running.
  package var refusals: [Finding] { findings.filter { $0.outcome != .warn } }
  package var warnings: [Finding] { findings.filter { $0.outcome == .warn } }

  /// The highest number that an `integer` column takes without an operator's attention.
  static let integerLimit: Int64 = 2_000_000_000

  /// - Parameter accepted: those of `event_store.accept`.
  package init(_ facts: StoreFacts, accepted: Set<Acceptance> = []) {
    let sequence = facts.sequence
    let origin = facts.numberDefault == nil ? "drawn by the writer from" : "drawn by default from"
    verdict =
      "order: \(facts.table).\(facts.numberColumn), \(origin) \(sequence.name) (CACHE \(sequence.cache), \(Self.signed(sequence.increment))): "
    verdict +=
      sequence.cache > 1 ? "proven by the sequence's lock and a horizon" : "proven by the sequence's lock"

    findings = Self.judgeKind(facts)
    if ![.view, .materializedView, .foreignTable].contains(facts.kind) {
      findings += Self.judgeTable(facts) + Self.judgeInserts(facts) + Self.judgeSequence(facts)
    }
    findings.removeAll { if case .ask(let word) = $0.outcome { accepted.contains(word) } else { false } }
    if !refusals.isEmpty { verdict = "order: \(facts.table).\(facts.numberColumn): not proven" }
  }

  /// Whether writers hold their locks here, and readers see every row.
  private static func judgeKind(_ facts: StoreFacts) -> [Finding] {
    var found: [Finding] = []
    if let engine = facts.foreignEngine {
      found.append(
        .refuse(
          "\(facts.table) is distributed by \(engine): its sequences and locks are not in one place",
          "Follow an event table of a single PostgreSQL server."))
    }
    switch facts.kind {
    case .table, .partitioned: break
    case .view, .materializedView, .foreignTable:
      found.append(
        .refuse(
          "\(facts.table) is \(facts.kind.words), not a table: only a table's own writers hold the locks that prove the mark",
          "Name the schema of the table itself with event_store.schema."))
    }
    if !facts.subscriptions.isEmpty {
      found.append(
        .refuse(
          "\(facts.table) is filled by the subscription \(list(facts.subscriptions)): its writers, and their locks, are on another server",
          "Run Tidemark on the publisher."))
    }
    for leaf in facts.leaves where leaf.isForeign {
      found.append(
        .refuse(
          "the partition \(leaf.name) of \(facts.table) is a foreign table: its writers' locks are on another server",
          "Detach the partition, or follow the table on the server that holds it."))
    }
    switch facts.rowSecurity {
    case nil: break
    case .reader(let role):
      found.append(
        .refuse(
          "row security on \(facts.table) filters the rows that role \(role) reads: hidden events would count as numbers that no event has",
          "As a superuser run: ALTER ROLE \(role) BYPASSRLS;"))
    case .viewOwner(let role):
      found.append(
        .refuse(
          "row security on \(facts.table) filters the rows that role \(role), the owner of the view tidemark.batch, reads: pages would miss events",
          "As a superuser run: ALTER ROLE \(role) BYPASSRLS;"))
    }
    return found
  }

  private static func judgeTable(_ facts: StoreFacts) -> [Finding] {
    var found: [Finding] = []
    switch facts.persistence {
    case .logged: break
    case .temporary:
      found.append(
        .refuse("\(facts.table) is a temporary table", "Name the schema of the event table with event_store.schema."))
    case .unlogged:
      found.append(
        .warn(
          "\(facts.table) is unlogged: a crash of the server empties it", "Run: ALTER TABLE \(facts.table) SET LOGGED;")
      )
    }
    for leaf in facts.leaves where leaf.persistence == .unlogged {
      found.append(
        .warn(
          "the partition \(leaf.name) is unlogged: a crash of the server empties it",
          "Run: ALTER TABLE \(leaf.name) SET LOGGED;"))
    }
    if !facts.binaryTypes.isEmpty {
      found.append(
        .warn(
          "events of type \(list(facts.binaryTypes)) are binary: their payload is in the column bdata, and their data is empty",
          "A projection that reads their data gets a dead letter for each. Leave the type out of its `events`, filter with `WHERE NOT is_binary`, or have Marten write the type as JSON."
        ))
    }
    if !["bigint", "integer", "smallint"].contains(facts.numberType) {
      found.append(
        .refuse(
          "\(facts.table).\(facts.numberColumn) is of type \(facts.numberType), not an integer: the proof counts numbers",
          "Run: ALTER TABLE \(facts.table) ALTER COLUMN \(facts.numberColumn) TYPE bigint;"))
    }
    if facts.numberType == "integer", facts.handedOut > integerLimit {
      found.append(
        .warn(
          "\(facts.table).\(facts.numberColumn) is an integer, and its sequence stands at \(facts.handedOut) of 2147483647",
          "Run: ALTER TABLE \(facts.table) ALTER COLUMN \(facts.numberColumn) TYPE bigint; it rewrites the table."))
    }
    return found
  }

  /// Whether a row keeps the number that its writer drew.
  private static func judgeInserts(_ facts: StoreFacts) -> [Finding] {
    var found: [Finding] = []
    if let text = facts.numberDefault, !draws(text, from: facts.sequence.name) {
      found.append(
        .refuse(
          "the default of \(facts.table).\(facts.numberColumn) is \(text), not nextval of \(facts.sequence.name): an event's number must come from that sequence alone",
          "Run: ALTER TABLE \(facts.table) ALTER COLUMN \(facts.numberColumn) SET DEFAULT nextval('\(facts.sequence.name)');"
        ))
    }
    let different = facts.leaves.filter { leaf in leaf.numberDefault.map { $0 != facts.numberDefault } ?? false }
    if !different.isEmpty {
      let names = list(different.map { "\($0.name) (DEFAULT \($0.numberDefault ?? ""))" })
      found.append(
        .ask(
          .leafDefaults,
          "partition \(names) has another default for \(facts.numberColumn) than \(facts.table): rows that are inserted there directly draw elsewhere",
          "Run: "
            + different.map { "ALTER TABLE \($0.name) ALTER COLUMN \(facts.numberColumn) DROP DEFAULT;" }
            .joined(separator: " ")))
    }
    if !facts.insertTriggers.isEmpty {
      found.append(
        .ask(
          .insertTriggers,
          "BEFORE INSERT trigger \(list(facts.insertTriggers)) may change the number of an event after it was drawn",
          "Make it an AFTER trigger."))
    }
    if !facts.insertRules.isEmpty {
      found.append(
        .ask(
          .insertTriggers,
          "rule \(list(facts.insertRules)) rewrites what is inserted into \(facts.table)",
          "Run: " + facts.insertRules.map { "DROP RULE \($0) ON \(facts.table);" }.joined(separator: " ")))
    }
    return found
  }

  private static func judgeSequence(_ facts: StoreFacts) -> [Finding] {
    let sequence = facts.sequence
    var found: [Finding] = []
    if sequence.cycles {
      found.append(
        .refuse(
          "the sequence \(sequence.name) has CYCLE: it would hand out old numbers again",
          "Run: ALTER SEQUENCE \(sequence.name) NO CYCLE;"))
    }
    if sequence.increment < 0 {
      found.append(
        .refuse(
          "the sequence \(sequence.name) counts downwards (INCREMENT \(sequence.increment)), and the mark needs numbers that rise",
          "If that is a mistake, run: ALTER SEQUENCE \(sequence.name) INCREMENT BY 1; SELECT setval('\(sequence.name)', \(max(facts.highestVisible, 1))); a store whose numbers fall cannot be followed."
        ))
    } else if sequence.increment > 1 {
      let remedy = "Have writers draw each number, and run: ALTER SEQUENCE \(sequence.name) INCREMENT BY 1;"
      let between = facts.numbersBetweenSteps.map(String.init)
      found.append(
        between.isEmpty
          ? .ask(
            .increment,
            "the sequence \(sequence.name) has INCREMENT BY \(sequence.increment): a writer that uses the numbers between two steps later, without the sequence (pooled ids, Hibernate's allocationSize), would have its events skipped",
            remedy)
          : .refuse(
            "the sequence \(sequence.name) has INCREMENT BY \(sequence.increment), and events have numbers between its steps (\(list(between))): they were not drawn when they were inserted (pooled ids, Hibernate's allocationSize), so some would be skipped",
            remedy))
    }
    switch sequence.persistence {
    case .logged: break
    case .unlogged:
      found.append(
        .warn(
          "the sequence \(sequence.name) is unlogged: a crash of the server sets it back",
          "Run: ALTER SEQUENCE \(sequence.name) SET LOGGED;"))
    case .temporary:
      found.append(
        .refuse(
          "the sequence \(sequence.name) is temporary: each session would draw its own numbers",
          "Name the schema of the event store with event_store.schema."))
    }
    if facts.handedOut < facts.highestVisible {
      found.append(
        .warn(
          "the sequence \(sequence.name) stands at \(facts.handedOut), below the number \(facts.highestVisible) of an event: writers will draw numbers that are taken",
          facts.highestVisible > Int64.max / 2
            ? "No writer could draw a number after that one. Give that event a number from the sequence: UPDATE \(facts.table) SET \(facts.numberColumn) = nextval('\(sequence.name)') WHERE \(facts.numberColumn) = \(facts.highestVisible);"
            : "Run: SELECT setval('\(sequence.name)', \(facts.highestVisible));"))
    }
    if facts.lowestVisible < 1 {
      found.append(
        .warn(
          "events have numbers below 1, such as \(facts.lowestVisible): no page reads them, and no shard applies them",
          "Give them numbers from the sequence: UPDATE \(facts.table) SET \(facts.numberColumn) = nextval('\(sequence.name)') WHERE \(facts.numberColumn) < 1;"
        ))
    }
    return found
  }

  /// Whether a default is exactly `nextval('name'::regclass)`, as PostgreSQL writes it: the name may be qualified or not.
  private static func draws(_ expression: String, from sequence: String) -> Bool {
    let names = [sequence, sequence.split(separator: ".").last.map(String.init) ?? sequence]
    return names.contains { expression == "nextval('\($0)'::regclass)" }
  }

  private static func signed(_ number: Int64) -> String { number > 0 ? "+\(number)" : "\(number)" }

  private static func list(_ names: [String]) -> String { names.joined(separator: ", ") }
}
