import Books
import Commands
import Daemon
import EventStore
import Glibc
import Postgres
import Rules
import Settings

/// The options that name the settings file and the database, for every verb that needs settings.
struct SettingsOption {
  static let config: Option<String?> = .value(
    "config", short: "c", .text("FILE", completion: .files),
    "The settings file. Default: $TIDEMARK_CONFIG, or /etc/tidemark/tidemark.toml.")
  static let database: Option<String?> = .value(
    "database", .text("NAME", completion: .names([.databases])),
    "If the settings have several databases, use only this one: its NAME in [databases.NAME].")

  static let options: [any DescribedOption] = [config, database]

  let path: String?
  let database: String?

  init(_ line: ParsedLine) {
    path = line[Self.config]
    database = line[Self.database]
  }

  var file: String { path ?? environment["TIDEMARK_CONFIG"] ?? "/etc/tidemark/tidemark.toml" }

  /// Loads the settings, or throws all their problems.
  func load() throws -> Settings {
    do {
      return try chosen(try Settings.load(path: file, environment: environment))
    } catch let error as SettingsProblems {
      let lines = error.lines
      throw lines.count == 1
        ? CommandFailure(.usage, lines[0])
        : CommandFailure(.usage, "\(lines.count) problems in the settings", details: lines.map { "  \($0)" })
    }
  }

  /// The settings of the selected database.
  private func chosen(_ settings: Settings) throws -> Settings {
    guard let database else { return settings }
    guard let found = settings.perDatabase.first(where: { $0.database.name == database }) else {
      let names = settings.databaseNames
      throw CommandFailure(
        .usage, "--database: there is no [databases.\(database)] in the settings",
        hint: names.isEmpty ? "There is only one database." : "There are: \(names.joined(separator: ", "))")
    }
    return found
  }
}

var environment: [String: String] {
  var result: [String: String] = [:]
  var entry = environ
  while let pair = entry.pointee {
    let text = String(cString: pair)
    if let equals = text.firstIndex(of: "=") {
      result[String(text[..<equals])] = String(text[text.index(after: equals)...])
    }
    entry += 1
  }
  return result
}

/// Opens a session for a verb, runs the body, and closes the session. Turns errors into an exit status.
func withSession<T>(_ settings: Settings, _ body: (Session) async throws -> T) async throws -> T {
  try settings.refuseSeveralDatabases()
  let options = ConnectionOptions(settings.database)
  let session: Session
  do {
    session = try await PoolerCheck(options: options).connect(threadName: "tidemark", orThrow: PoolerCheck.refusal)
  } catch let error as PostgresError {
    throw CommandFailure(
      .unreachable, "cannot reach the database (\(options.redacted)): \(error.message)",
      hint: Problem(error).hint)
  } catch {
    throw commandFailure(error)
  }
  do {
    return try await session.closing { session in
      _ = try await session.script(SessionBounds.lockTimeout())
      try await Installation.refuseAhead(session)
      return try await body(session)
    }
  } catch {
    throw commandFailure(error)
  }
}

/// Opens a session for each database in turn. A failure does not stop the others; all failures are reported at the end.
func withEachSession(_ settings: Settings, _ body: (Settings, Session) async throws -> Void) async throws {
  var failures: [(name: String, failure: CommandFailure)] = []
  for settings in settings.perDatabase {
    do {
      try await withSession(settings) { try await body(settings, $0) }
    } catch let failure as CommandFailure {
      guard let name = settings.database.name else { throw failure }
      failures.append((name, failure))
    }
  }
  guard let first = failures.first?.failure else { return }
  let lines = failures.flatMap { name, failure in failure.lines("database \(name)") }
  throw CommandFailure(first.status, lines[0], details: Array(lines.dropFirst()))
}

extension Settings {
  /// The prefix of messages about one of several databases.
  var prefix: String { database.name.map { "\($0): " } ?? "" }

  /// For verbs that use one database: if there are several, the command line must name one.
  func refuseSeveralDatabases() throws {
    guard namedDatabases.isEmpty else {
      throw CommandFailure(
        .usage, "the settings have several databases: name one with --database NAME",
        hint: "There are: \(databaseNames.joined(separator: ", "))")
    }
  }
}

func commandFailure(_ error: any Error) -> any Error {
  switch error {
  case let error as PostgresError where error.sqlState == .readOnlyTransaction:
    CommandFailure(
      .unreachable, "the database accepts no writes: \(error.message)", hint: Problem(error).hint)
  case let error as PostgresError where error.isConnectionLoss:
    CommandFailure(.unreachable, "the connection to the database was lost: \(error.message)")
  case is Problem, is PostgresError: CommandFailure(.failed, Problem(of: error))
  default: error
  }
}
