import Rules
import Testing

@Suite struct `The fingerprint of a definition` {
  private static let trip = ProjectionDefinition(
    name: "Trip", events: ["travel", "arrive"], tables: ["trip"],
    effect: .batch([Statement(text: "INSERT", source: SourceLocation(file: "a", line: 1))]))
  private static let mailer = ProjectionDefinition(
    name: "Mailer", effect: .plugin(PluginDefinition(program: .exec(["m"]))))

  private static func changed(
    _ definition: ProjectionDefinition, _ change: (inout ProjectionDefinition) -> Void
  ) -> ProjectionDefinition {
    var other = definition
    change(&other)
    return other
  }

  private static func plugin(_ change: (inout PluginDefinition) -> Void) -> ProjectionDefinition {
    var plugin = mailer.plugin!
    change(&plugin)
    return changed(mailer) { $0.effect = .plugin(plugin) }
  }

  /// To whom a change matters: each takes in those before it.
  enum Reach: Int, CaseIterable { case nobody, reload, rebuild, work }

  private static let changes: [(String, Reach, ProjectionDefinition, ProjectionDefinition)] = [
    ("concealment", .nobody, trip, changed(trip) { $0.conceal(Concealment(["NAME": "value"])) }),
    ("source", .nobody, trip, changed(trip) { $0.source = SourceLocation(file: "b", line: 9) }),
    ("setup", .nobody, trip, changed(trip) { $0.setup = Statement(text: "CREATE TABLE trip ()") }),
    (
      "effect, its place", .nobody, trip,
      changed(trip) { $0.effect = .batch([Statement(text: "INSERT", source: SourceLocation(file: "a", line: 2))]) }
    ),
    ("effect", .work, trip, changed(trip) { $0.effect = .batch([Statement(text: "UPDATE")]) }),
    ("events", .work, trip, changed(trip) { $0.events = ["travel"] }),
    ("events, all", .work, trip, changed(trip) { $0.events = nil }),
    ("events, their order", .rebuild, trip, changed(trip) { $0.events = ["arrive", "travel"] }),
    ("tables", .rebuild, trip, changed(trip) { $0.tables = ["trip", "leg"] }),
    ("onPoison", .rebuild, trip, changed(trip) { $0.onPoison = .parkStream }),
    ("key", .rebuild, trip, changed(trip) { $0.key = "id" }),
    ("tenantKey", .rebuild, trip, changed(trip) { $0.tenantKey = "id" }),
    ("isParallel", .rebuild, trip, changed(trip) { $0.isParallel = true }),
    ("archived", .rebuild, trip, changed(trip) { $0.archived = .skip }),
    ("acceptCompacted", .rebuild, trip, changed(trip) { $0.acceptCompacted = ["Trip"] }),
    ("start", .reload, trip, changed(trip) { $0.start = .present }),
    ("onMismatch", .reload, trip, changed(trip) { $0.onMismatch = .continue }),
    ("effect, concealment", .reload, mailer, plugin { $0.concealment = Concealment(["NAME": "value"]) }),
    ("effect, program", .work, mailer, plugin { $0.program = .exec(["n"]) }),
    ("effect, effects", .work, mailer, plugin { $0.effects = .database }),
    ("effect, rebuild_external", .rebuild, mailer, plugin { $0.rebuildsExternal = true }),
    ("effect, timeout", .reload, mailer, plugin { $0.timeout = .seconds(7) }),
    ("effect, environment", .reload, mailer, plugin { $0.environment = ["A": "b"] }),
    ("effect, working_directory", .reload, mailer, plugin { $0.workingDirectory = "/" }),
  ]

  @Test(arguments: changes.indices)
  func `tells a change from none, to whom it matters`(index: Int) {
    let (name, reach, before, after) = Self.changes[index]
    let (old, new) = (before.fingerprint, after.fingerprint)
    #expect((old != new) == (reach.rawValue >= Reach.reload.rawValue), "\(name)")
    #expect((old.rebuild != new.rebuild) == (reach.rawValue >= Reach.rebuild.rawValue), "\(name)")
    #expect((old.work != new.work) == (reach == .work), "\(name)")
  }

  /// Here, and so in the fingerprint, is said to whom a new property matters; name and version are the shard's own.
  @Test func `has an answer for every property`() {
    let properties = Set(Mirror(reflecting: Self.trip).children.map { $0.label! }).subtracting(["name", "version"])
    #expect(properties == Set(Self.changes.map { String($0.0.prefix { $0 != "," }) }))
    #expect(
      Mirror(reflecting: Self.mailer.plugin!).children.count == Self.changes.count { $0.0.hasPrefix("effect, ") } - 1)
  }

  @Test func `of a plugin is that of the names of variables, and knows the one of an earlier program`() {
    func definition(_ secret: String) -> ProjectionDefinition {
      var definition = Self.plugin { $0.program = .exec(["m", "--key=\(secret)"]) }
      definition.conceal(Concealment(["KEY": secret]))
      return definition
    }
    let (old, new) = (definition("first-secret").fingerprint, definition("second-secret").fingerprint)
    #expect(old.work == new.work && old.rebuild == new.rebuild && old != new)
    let earlier = Self.plugin { $0.program = .exec(["m", "--key=first-secret"]) }.fingerprint
    #expect(old.works == [old.work, earlier.work] && old.isOfRebuild(earlier.rebuild) && old.isOfRebuild(old.rebuild))
    #expect(!new.works.contains(earlier.work) && !new.isOfRebuild(earlier.rebuild))
    #expect(definition("").fingerprint.work != old.work)
    // In SQL the value is a part of the work.
    var sql = Self.changed(Self.trip) { $0.effect = .batch([Statement(text: "INSERT INTO first.t")]) }
    let plain = sql.fingerprint
    sql.conceal(Concealment(["SCHEMA": "first"]))
    #expect(sql.fingerprint.work == plain.work)
  }

  /// They are in databases: with another text, every shard of theirs would seem to have been changed.
  @Test func `of what is kept in the database stays what it was`() {
    #expect(Self.trip.fingerprint.work == "34267dd349d56819")
    #expect(Self.trip.fingerprint.rebuild == "bc33a21404befe0e")
    #expect(Self.mailer.fingerprint.work == "4acb1cd0763998ee")
    #expect(Self.mailer.fingerprint.rebuild == "dcf8d4a9a2645928")
  }
}
