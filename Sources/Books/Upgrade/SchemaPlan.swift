package import EventStore
package import Postgres
import Rules

/// The changes that a database needs before shards can run there, as statements that an operator may read or run.
///
/// Planning only reads. It looks up every object, so one that was dropped by hand is created again even if the records say it exists.
package struct SchemaPlan: Sendable {
  package struct Step: Sendable, Hashable {
    /// The purpose of the step, in a few words.
    package var title: String
    package var script: String
    /// The search path of its statements; nil for our own. With another, it runs the operator's own statements.
    package var searchPath: String?
    /// Whether it creates a table again whose rows are lost and cannot be recovered, so that an operator must ask for it.
    package var losesRows = false

    package init(title: String, script: String, searchPath: String? = nil) {
      self.title = title
      self.script = script
      self.searchPath = searchPath
    }

    /// The statements as they run: ours cannot pick up another owner's objects by name, and the operator's make theirs in the same schema
    /// whichever role runs the script.
    var statements: String {
      let path = searchPath.map { $0.isEmpty ? "''" : $0 } ?? SearchPath.ours
      return "SET LOCAL search_path = \(path);\n\(script)"
    }

    /// A name in it may have any characters, and a line break would end the comment.
    var heading: String { "-- \(String(title.map { $0.isNewline ? " " : $0 }))" }
  }

  package private(set) var steps: [Step] = []
  /// Nothing of Tidemark's was there.
  package private(set) var isFirst = false

  package init() {}

  package var isEmpty: Bool { steps.isEmpty }

  /// All steps as one script for `psql`: ours in one transaction, and each of the operator's in its own, so that one that fails takes no
  /// other back. It waits for a lock for a few seconds at most, because later sessions that want the same lock wait behind it.
  package var script: String {
    let ours = steps.filter { $0.searchPath == nil }
    let others = steps.filter { $0.searchPath != nil }
    return ([ours] + others.map { [$0] }).filter { !$0.isEmpty }.map { steps in
      "BEGIN;\nSET LOCAL lock_timeout = '3s';\n\n"
        + steps.map { "\($0.heading)\n\n\($0.statements)" }.joined(separator: "\n") + "\nCOMMIT;\n"
    }.joined(separator: "\n")
  }

  /// For verbs that only use the schema.
  ///
  /// - Throws: ``Problem`` that names the missing objects.
  package static func refuseMissing(_ session: Session, shape: StoreShape) async throws {
    let plan = try await forStore(session, shape: shape)
    guard plan.isEmpty else {
      throw Problem(
        .store(.schemaBehind), "missing in the database: \(plan.steps.map(\.title).joined(separator: ", "))",
        hint: "Run `tidemark init`; with --dry-run it only prints the statements.")
    }
  }

  /// Tidemark's own schema on top of an existing store.
  ///
  /// Only a program whose number is higher than the database's replaces functions or changes tables. One of the same number creates
  /// missing objects, and an older one changes nothing.
  ///
  /// - Parameter tidies: whether to drop functions that no live node calls any more.
  /// - Throws: ``Problem`` if the schema serves another store, or this program is too old to run beside it.
  package static func forStore(
    _ session: Session, shape: StoreShape, schema: Schema = .current, tidies: Bool = false
  ) async throws -> SchemaPlan {
    var plan = SchemaPlan()
    if !shape.hasProgression {
      plan.add("the table of positions", SQL.filled(PackageResources.marten_progression_sql, shape.placeholders))
    }
    let tables = schema.tables(for: shape)
    let objects = schema.objects(for: shape)
    var found = try await SchemaLookUp.read(session, objects: tables + objects, shape: shape)
    guard let installed = try await Installation.read(session, found, tables: tables) else {
      plan.isFirst = true
      plan.add("Tidemark's own tables", schemaStatement + tables.map(\.script).joined(separator: "\n"))
      plan.add("the event store they serve", Installation.insert(schema, shape))
      plan.add("Tidemark's view and functions", schemas(found) + made(objects, found))
      return plan
    }
    // The same table in another schema is the same store: the view followed it.
    let hasView = objects.contains { $0.isBatch && !found.isMissing($0) }
    let hasMoved = installed.storeSchema != shape.schema && hasView && !found.viewIsElsewhere
    if hasMoved && !shape.hasProgression {
      throw Problem(
        .store(.otherStore),
        "the event table moved from schema \(installed.storeSchema) to \(shape.schema), and its table of positions did not",
        hint:
          "Run: ALTER TABLE \(SQL.quoted(installed.storeSchema)).mt_event_progression SET SCHEMA \(shape.store);"
      )
    }
    guard installed.storeSchema == shape.schema || hasMoved else {
      throw Problem(
        .store(.otherStore),
        "the schema tidemark serves the event store in \(installed.storeSchema), not the one in \(shape.schema)",
        hint: "Tidemark follows one event store per database. Set event_store.schema = \"\(installed.storeSchema)\".")
    }
    guard installed.number <= schema.number else {
      try installed.refuseOlder(schema, missing: (tables + objects).filter(found.isMissing))
      guard !found.viewIsElsewhere else {
        throw Problem(
          .store(.schemaBehind),
          "the view tidemark.batch does not show the event table, and belongs to a newer program",
          hint: "Run `tidemark init` with the newer program.")
      }
      return plan
    }

    let isUpgrade = installed.number < schema.number
    if tidies || isUpgrade || !found.isComplete || found.viewIsElsewhere { try await found.readForChange(session) }
    plan.restore(tables, found, isUpgrade: isUpgrade)
    if isUpgrade {
      for number in schema.numbers where number.number > installed.number && !number.upgrade.isEmpty {
        plan.add(number.title, number.upgrade)
      }
      let known = tables.filter { !found.isMissing($0) }
      plan.add("the comments of the tables", known.map(\.commentStatement).joined())
      // Before number 5 PUBLIC could execute them.
      plan.add(
        "Tidemark's view and functions", schemas(found) + made(objects, found, areNew: installed.number < 5))
      plan.add("the record of the number", Installation.advance(from: installed.number, to: schema, shape))
    } else if installed.shapeHash != shape.hash || hasMoved {
      if hasMoved { plan.add("the move of the event store to schema \(shape.schema)", Installation.move(to: shape)) }
      plan.add(
        "Tidemark's view and functions, for the event store as it is now", schemas(found) + made(objects, found))
      plan.add("the record of the columns they were made for", Installation.remember(shape))
    } else {
      if !found.hasInternalSchema { plan.add("schema tidemark_internal", internalSchema(found)) }
      if !found.hasPageSchema { plan.add("schema \(SearchPath.page)", pageSchema(found)) }
      for object in objects where found.isMissing(object) || (object.isBatch && found.viewIsElsewhere) {
        let place = found.isMissing(object) ? "" : ", on the current event table"
        plan.add("\(object.kind.rawValue.lowercased()) \(object.name)\(place)", made([object], found))
      }
    }
    if !isUpgrade, tables.contains(where: { $0.name == "tidemark.schema_number" && found.isMissing($0) }) {
      plan.add("the record of the number", Installation.record([schema.numbers.last!], of: schema))
    }
    if (tidies || isUpgrade) && !found.leftovers.isEmpty {
      plan.add(
        "the removal of functions that no live node calls", found.leftovers.map { "DROP FUNCTION \($0);\n" }.joined())
    }
    return plan
  }

  private static let schemaStatement = """
    CREATE SCHEMA IF NOT EXISTS tidemark;

    COMMENT ON SCHEMA tidemark IS 'Tidemark: keeps read models up to date from an event table';


    """

  private static func schemas(_ found: SchemaLookUp) -> String { internalSchema(found) + pageSchema(found) }

  /// Creates the schema of the internal functions if it is missing. Every role may use it: its functions run with the rights of the caller,
  /// so what protects positions and letters are the privileges on their tables, which a daemon's role needs anyway.
  private static func internalSchema(_ found: SchemaLookUp) -> String {
    guard !found.hasInternalSchema else { return "" }
    return """
      CREATE SCHEMA tidemark_internal;

      COMMENT ON SCHEMA tidemark_internal IS 'Tidemark: functions for its own nodes and verbs; on no search path';

      GRANT USAGE ON SCHEMA tidemark_internal TO PUBLIC;


      """
  }

  /// Creates the schema of the view `batch` if it is missing. Every role may use it: its objects read `tidemark.batch` as the caller.
  private static func pageSchema(_ found: SchemaLookUp) -> String {
    guard !found.hasPageSchema else { return "" }
    return """
      CREATE SCHEMA \(SearchPath.page);

      COMMENT ON SCHEMA \(SearchPath.page) IS 'Tidemark: the view batch, as statements of projections find it; first on their search path';

      GRANT USAGE ON SCHEMA \(SearchPath.page) TO PUBLIC;


      """
  }

  /// The script that creates objects, and grants new functions to the roles that need them.
  ///
  /// - Parameter areNew: whether existing functions count as new too.
  private static func made(_ objects: [SchemaObject], _ found: SchemaLookUp, areNew: Bool = false) -> String {
    var script = ""
    if found.viewIsElsewhere, objects.contains(where: \.isBatch) {
      script += "DROP VIEW tidemark.batch;\n\n"
    }
    script += objects.map(\.script).joined(separator: "\n")
    if found.viewIsElsewhere, objects.contains(where: \.isBatch), !found.viewers.isEmpty {
      script += "\nGRANT SELECT ON tidemark.batch TO \(found.viewers.joined(separator: ", "));\n"
    }
    if objects.contains(where: { $0.schema == SearchPath.page }) {
      // Statements of pages search this schema first, and would make there what they make without a schema: not even its owner may, outside
      // of this script.
      let role = "ON SCHEMA \(SearchPath.page)"
      script = "GRANT CREATE \(role) TO CURRENT_USER;\n\n\(script)\nREVOKE CREATE \(role) FROM CURRENT_USER;\n"
    }
    for object in objects where object.kind == .function && (areNew || found.isMissing(object)) {
      // Said where it is the default too: a hardened database has another.
      guard object.schema == "tidemark" else {
        script += "\nGRANT EXECUTE ON FUNCTION \(object.name) TO PUBLIC;\n"
        continue
      }
      script += "\nREVOKE EXECUTE ON FUNCTION \(object.name) FROM PUBLIC;\n"
      if !found.callers.isEmpty {
        script += "GRANT EXECUTE ON FUNCTION \(object.name) TO \(found.callers.joined(separator: ", "));\n"
      }
    }
    return script
  }

  /// Tables whose rows cannot be recovered: those of the others are computed again or start over.
  private static let irreplaceable = ["tidemark.gap", "tidemark.dead_letter", "tidemark.shard"]

  /// Creates missing tables in their newest form.
  private mutating func restore(_ tables: [SchemaObject], _ found: SchemaLookUp, isUpgrade: Bool) {
    let lacksRebuilds = tables.contains { $0.name == "tidemark.rebuild" && found.isMissing($0) }
    for table in tables {
      // Its rows belong to lost rows of the other.
      let isOrphan = lacksRebuilds && table.name == "tidemark.rebuild_worker"
      guard found.isMissing(table) || isOrphan else { continue }
      var script = isOrphan && !found.isMissing(table) ? "DROP TABLE tidemark.rebuild_worker;\n\n" : ""
      script += table.script
      if table.name == "tidemark.schema_number", !found.readers.isEmpty {
        script += "\nGRANT SELECT ON tidemark.schema_number TO \(found.readers.joined(separator: ", "));\n"
      }
      var step = Step(title: "table \(table.name)", script: script)
      step.losesRows = Self.irreplaceable.contains(table.name)
      steps.append(step)
    }
  }

  /// A new event store, without Tidemark's own schema, which ``forStore(_:shape:schema:tidies:)`` adds.
  ///
  /// - Parameter streamIDType: `uuid` or `varchar`.
  package static func newStore(schema: String, streamIDType: String) -> SchemaPlan {
    let shape = StoreShape.new(schema: schema, streamIDType: streamIDType)
    var plan = SchemaPlan()
    plan.add("an event store in Marten's shape", SQL.filled(PackageResources.marten_store_sql, shape.placeholders))
    return plan
  }

  private mutating func add(_ title: String, _ script: String) { steps.append(Step(title: title, script: script)) }

  package mutating func append(_ step: Step) { steps.append(step) }
  package mutating func append(contentsOf plan: SchemaPlan) { steps += plan.steps }
}
