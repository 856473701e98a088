import Operator
import Books
import Commands
import Daemon
import EventStore
import Postgres
import Rules
import Settings

struct Check {
  static let verb = Verb(
    "check", about: "Check the settings file, and every statement of every projection against the database.",
    discussion: """
      PostgreSQL plans the statements; nothing is changed. The exit status is 2 if the settings are wrong, 1 if the database reports an
      error, and 3 if it is unreachable.
      """,
    options: SettingsOption.options + [offline]
  ) { try await Check(line: $0).run() }

  static let offline: Option<Bool> = .flag("offline", "Check the file only; do not connect.")

  let line: ParsedLine

  func run() async throws {
    let settings = try SettingsOption(line).load()
    let count = settings.projections.count
    for warning in FileWarnings.all(settings) {
      printResult("warning: \(warning.message)\n    hint: \(warning.hint ?? "")")
    }
    if line[Self.offline] {
      printResult("ok: \(counted(count, "projection")); not checked against the database")
      return
    }
    try await withEachSession(settings) { settings, session in
      let store = settings.eventStore
      try await Privileges.refuseMissing(session, schema: store.schema)
      let preflight = try await Preflight.pass(session, schema: store.schema, accepted: store.accept)
      let shape = try await StoreShape.read(session, schema: store.schema)
      try await SchemaPlan.refuseMissing(session, shape: shape)
      var findings = try await DefinitionCheck(shape: shape).findings(settings.projections, session)
      let refused = Set(findings.compactMap(\.key))
      // A projection whose statements cannot be planned needs no further checks.
      let grant = try await DefinitionCheck(shape: shape).grantForLook(session)
      if let grant {
        printResult(
          "\(settings.prefix)warning: not checked whether a rebuild can redirect the statements: the role may not make temporary tables\n    hint: As the owner of the database run: \(grant);"
        )
      }
      for projection in settings.projections where grant == nil && !refused.contains(projection.settingsKey) {
        findings += try await RedirectionCheck(shape: shape).strays(projection, ConnectionOptions(settings.database))
      }
      let sound = settings.projections.filter { !refused.contains($0.settingsKey) }
      findings += try await StartCheck(shape: shape).findings(sound, session)
      guard findings.isEmpty else {
        throw CommandFailure(
          .failed,
          "\(counted(findings.count, "problem")) found",
          details: findings.flatMap { ["  \($0.placed)"] + ($0.hint.map { ["    hint: \($0)"] } ?? []) })
      }
      for warning in preflight?.warnings ?? [] {
        printResult("\(settings.prefix)warning: \(warning.message)\n    hint: \(warning.hint)")
      }
      for warning in StartCheck.widthWarnings(settings.projections) {
        printResult("\(settings.prefix)warning: \(warning.placed)" + (warning.hint.map { "\n    hint: \($0)" } ?? ""))
      }
      for warning in try await NameWarnings(schema: store.schema).all(settings.projections, session) {
        printResult("\(settings.prefix)warning: \(warning.message)\n    hint: \(warning.hint ?? "")")
      }
      for warning in try await DefinitionCheck(shape: shape).warnings(settings.projections, session) {
        printResult("\(settings.prefix)warning: \(warning)")
      }
      for warning in try await CompactedCheck(shape: shape).warnings(settings.projections, session) {
        printResult("\(settings.prefix)warning: \(warning.placed)" + (warning.hint.map { "\n    hint: \($0)" } ?? ""))
      }
      for note in settings.projections.compactMap(Self.note) { printResult("\(settings.prefix)\(note)") }
      printResult(
        "\(settings.prefix)ok: \(counted(count, "projection")), every statement planned by PostgreSQL \(session.serverVersion / 10_000)"
      )
      if let verdict = preflight?.verdict { printResult("\(settings.prefix)\(verdict)") }
      for line in try await ServerSettingsReport.lines(session) {
        printResult("\(settings.prefix)note: \(printable(line))")
      }
    }
  }

  /// A note on how a plugin can be rebuilt, since PostgreSQL cannot plan any of its statements.
  private static func note(_ definition: ProjectionDefinition) -> String? {
    guard definition.plugin != nil else { return nil }
    do throws(Problem) {
      switch try definition.rebuildKind() {
      case .replay: return "note: a rebuild hands \(definition.shard) every event again"
      case .tables where definition.tables.isEmpty:
        return "note: \(definition.shard) cannot be rebuilt: it declares no tables"
      case .tables:
        return
          "note: only a rebuild of \(definition.shard) can show, page by page, whether the plugin names its tables without their schema"
      }
    } catch {
      return "note: \(definition.shard) cannot be rebuilt: \(error.message)"
    }
  }
}
