package import EventStore
package import Postgres
import Rules

/// What is missing in a database before shards can run there, as statements that a person may read or run.
///
/// Planning reads only.
package struct SchemaPlan: Sendable {
  package struct Step: Sendable, Hashable {
    /// What the step is for, in a few words.
    package var title: String
    package var script: String

    package init(title: String, script: String) {
      self.title = title
      self.script = script
    }
  }

  package private(set) var steps: [Step] = []

  package init() {}

  package var isEmpty: Bool { steps.isEmpty }

  /// Every step as one script for `psql`, in one transaction.
  package var script: String {
    "BEGIN;\n\n" + steps.map { "-- \($0.title)\n\n\($0.script)" }.joined(separator: "\n") + "\nCOMMIT;\n"
  }

  /// Our tables, in the order they were added: what a database lacks of them is made, from wherever it stands.
  private static let tables: [(version: Int, title: String, template: [UInt8])] = [
    (1, "Tidemark's own tables", PackageResources.tables_1_sql),
    (2, "what operators want of shards", PackageResources.tables_2_sql),
    (3, "the nodes", PackageResources.tables_3_sql),
    (4, "rebuilds", PackageResources.tables_4_sql),
  ]

  /// The version of our tables that this program was written for.
  package static let version = tables.last!.version

  /// For whoever only uses the schema.
  ///
  /// - Throws: ``StoreProblem`` that names what is missing.
  package static func refuseMissing(_ session: Session, shape: StoreShape) async throws {
    let plan = try await forStore(session, shape: shape)
    guard plan.isEmpty else {
      throw StoreProblem(
        .schemaBehind, "missing in the database: \(plan.steps.map(\.title).joined(separator: ", "))",
        hint: "Run `tidemark init`; with --dry-run it prints the statements.")
    }
  }

  /// Tidemark's own schema on top of a store that exists.
  package static func forStore(_ session: Session, shape: StoreShape) async throws -> SchemaPlan {
    var plan = SchemaPlan()
    if !shape.hasProgression {
      plan.add("the table of positions", PackageResources.marten_progression_sql, shape)
    }
    let installed = try await Installation.read(session)
    if let installed {
      guard installed.version <= version else {
        throw StoreProblem(
          .schemaAhead, "the schema tidemark is at version \(installed.version), this program knows version \(version)",
          hint: "A newer Tidemark has been here. Run that one.")
      }
      guard installed.storeSchema == shape.schema else {
        throw StoreProblem(
          .otherStore,
          "the schema tidemark serves the event store in \(installed.storeSchema), not the one in \(shape.schema)",
          hint: "One event store in a database can be followed. Set event_store.schema = \"\(installed.storeSchema)\".")
      }
    }
    for table in tables where table.version > installed?.version ?? 0 { plan.add(table.title, table.template, shape) }
    if installed == nil {
      plan.steps.append(
        Step(
          title: "which event store they serve",
          script: """
            INSERT INTO tidemark.installation (version, store_schema, dialect)
            VALUES (\(version), \(SQL.quoted(literal: shape.schema)), 'marten');

            """))
    }
    if let installed, installed.version < version {
      plan.steps.append(
        Step(
          title: "remember the version of the tables",
          script: "UPDATE tidemark.installation SET version = \(version), updated_at = now();\n"))
    }
    let objects = SQL.filled(
      PackageResources.objects_sql + PackageResources.rebuild_sql + PackageResources.exchange_sql, shape.words)
    let hash = Fingerprint.text(objects)
    if installed?.objectsHash != hash {
      plan.steps.append(Step(title: "Tidemark's view and functions", script: objects))
      plan.steps.append(
        Step(
          title: "remember which text they were made from",
          script: "UPDATE tidemark.installation SET objects_hash = '\(hash)', updated_at = now();\n"))
    }
    return plan
  }

  /// A new event store, without Tidemark's own schema, which ``forStore(_:shape:)`` adds.
  ///
  /// - Parameter streamIDType: `uuid` or `varchar`.
  package static func newStore(schema: String, streamIDType: String) -> SchemaPlan {
    let shape = StoreShape.new(schema: schema, streamIDType: streamIDType)
    var plan = SchemaPlan()
    plan.add("an event store in Marten's shape", PackageResources.marten_store_sql, shape)
    return plan
  }

  /// Plans and runs every step in one transaction, all or none, and returns what was done.
  ///
  /// Under a lock, so that of two nodes that start at once the second finds nothing left to do.
  package static func apply(
    _ session: Session, planning: @Sendable (Session) async throws -> SchemaPlan
  ) async throws -> SchemaPlan {
    try await session.transaction { session in
      // A number of no meaning, which stays what it is: an older program may be planning beside this one.
      try await session.execute("SELECT pg_advisory_xact_lock(8388354976532292203)")
      let plan = try await planning(session)
      for step in plan.steps { try await session.script(step.script) }
      return plan
    }
  }

  private mutating func add(_ title: String, _ template: [UInt8], _ shape: StoreShape) {
    steps.append(Step(title: title, script: SQL.filled(template, shape.words)))
  }

  package mutating func append(_ step: Step) { steps.append(step) }
  package mutating func append(contentsOf plan: SchemaPlan) { steps += plan.steps }
}

/// The row of `tidemark.installation`.
struct Installation: Sendable {
  var version: Int
  var storeSchema: String
  var objectsHash: String?

  /// Nil where Tidemark was never installed.
  static func read(_ session: Session) async throws -> Installation? {
    let exists = try await session.execute("SELECT to_regclass('tidemark.installation') IS NOT NULL AS here")
    guard try exists.rows[0].get("here", as: Bool.self) else { return nil }
    let row = try await session.execute("SELECT version, store_schema, objects_hash FROM tidemark.installation").rows
      .first
    return try row.map {
      Installation(
        version: try $0.get("version", as: Int.self),
        storeSchema: try $0.get("store_schema", as: String.self),
        objectsHash: try $0.get("objects_hash", as: String?.self))
    }
  }
}

/// The key of the advisory lock that a text names.
func lockKey(_ text: String) -> Int64 { Int64(bitPattern: stableHash(text.utf8)) }
