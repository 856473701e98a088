package import Books
package import EventStore
package import Postgres
package import Rules
import ReadModels
import Telemetry

/// Collects the facts for ``Belonging``: whether a shard's position and its tables belong together.
package struct TableCheck: Sendable {
  private let definition: ProjectionDefinition
  /// The shards that the settings declare.
  private let declared: [String]
  private let filled: FilledTables
  private let rule: Belonging

  package init(_ definition: ProjectionDefinition, declared: [String], shape: StoreShape) {
    self.definition = definition
    self.declared = declared
    filled = FilledTables(shape)
    rule = Belonging(definition)
  }

  private var shard: String { "\(definition.shard)" }

  /// Why the shard would wait; nil if it would not.
  package func problem(_ session: Session) async throws -> Problem? {
    let positions = Positions(filled.shape)
    let continuity = try await positions.look(shard, session)
    if let problem = continuity.problem(shard) { return problem }
    guard let position = continuity.position else {
      let mark = try await MarkTable(filled.shape).restore(session)
      let tables = try await look(session)
      return try await ofNew(at: mark, continuity, tables, try await newFacts(tables, session), session)
    }
    let tables = try await look(session)
    guard tables.contains(where: { $0.isNew || $0.isOther }),
      case .wait(let problem) = try await verdict(tables, at: position, session)
    else { return nil }
    return problem
  }

  /// Inside the transaction that gives the shard its first position.
  ///
  /// - Throws: ``Problem`` if it must not get one.
  func claim(at first: Int64, _ continuity: Continuity, _ session: isolated Session) async throws {
    let tables = try await look(session)
    // Before the lock: another session may hold a table, and other shards do not wait for that.
    let facts = try await newFacts(tables, session)
    try await FilledTables.lockClaims(session)
    if let problem = try await ofNew(at: first, continuity, tables, facts, session) { throw problem }
    try await filled.record(tables, of: shard, session)
  }

  /// Records tables that belong to the position and are not on record yet.
  ///
  /// - Throws: ``Problem`` if they do not seem to belong to it.
  func check(at position: Int64, _ session: Session, _ observer: any Observer) async throws {
    let tables = try await look(session)
    guard tables.contains(where: { $0.isNew || $0.isOther }) else { return }
    switch try await verdict(tables, at: position, session) {
    case .fits: break
    case .doubtful(let problem): observer.observe(.tablesReplaced(definition.shard, failure: problem))
    case .wait(let problem): throw problem
    }
    try await filled.record(tables, of: shard, session)
  }

  private func look(_ session: Session) async throws -> [FilledTables.Table] {
    try await filled.look(try await definition.found(session), of: shard, session)
  }

  /// What setup has put there is not made of events, unless pages have changed it since.
  private func newFacts(_ tables: [FilledTables.Table], _ session: Session) async throws -> [Belonging.Table] {
    try await facts(tables, besidesSeeds: try await !filled.hasRun(shard, session), session)
  }

  private func ofNew(
    at first: Int64?, _ continuity: Continuity, _ tables: [FilledTables.Table], _ facts: [Belonging.Table],
    _ session: Session
  ) async throws -> Problem? {
    let namesakes =
      definition.tables.isEmpty
      ? try await filled.namesakes(of: shard, works: definition.fingerprint.works, declared: declared, session) : []
    let fillers = try await filled.fillers(of: tables, besides: shard, session)
    guard
      case .wait(let problem) = rule.ofNew(
        at: first, facts, fillers: fillers, namesakes: namesakes, continuity: continuity)
    else {
      return nil
    }
    return problem
  }

  private func verdict(
    _ tables: [FilledTables.Table], at position: Int64, _ session: Session
  ) async throws -> Belonging.Verdict {
    let isKnown =
      if tables.allSatisfy(\.isNew) { try await filled.hasRun(shard, session) } else { true }
    return try await rule.of(
      try await facts(tables, besidesSeeds: !isKnown, session), at: position, isKnown: isKnown
    ) {
      let first = try await first(session)
      return try await filled.hasEvents(after: first, upTo: position, types: definition.takes, session)
    }
  }

  /// Where the shard began, as far as that is known.
  private func first(_ session: Session) async throws -> Int64 {
    let positions = Positions(filled.shape)
    return max(try await start(positions, session), try await positions.floor(of: definition.name, session))
  }

  private func start(_ positions: Positions, _ session: Session) async throws -> Int64 {
    if let first = try await positions.first(shard, session) { return first }
    switch definition.start {
    case .sequence(let sequence): return sequence
    case .time(let time): return try await positions.before(time: time, session) ?? .max
    case .beginning, .present, .inlineHandover: return 0
    }
  }

  private func facts(
    _ tables: [FilledTables.Table], besidesSeeds: Bool = false, _ session: Session
  ) async throws -> [Belonging.Table] {
    var facts: [Belonging.Table] = []
    for table in tables {
      facts.append(
        Belonging.Table(
          table.name, hasRows: try await filled.hasRows(table, besides: besidesSeeds ? table.seeds : 0, session),
          isOther: table.isOther))
    }
    return facts
  }
}

extension ProjectionDefinition {
  /// Its tables that exist: each as declared, its object identifier, and with its schema, quoted.
  package func found(_ session: Session) async throws -> [(name: String, oid: Int64, qualified: String)] {
    var found: [(name: String, oid: Int64, qualified: String)] = []
    for table in tables {
      guard let one = try await DeclaredTable(table, of: name).find(session) else { continue }
      found.append((table, one.oid, one.qualified))
    }
    return found
  }
}
