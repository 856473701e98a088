import ArgumentParser
import Daemon
import EventStore
import Glibc
import Postgres
import Settings

/// Which settings file, for every verb that needs one; and the way from there to a session.
struct SettingsOption: ParsableArguments {
  @Option(
    name: [.customShort("c"), .customLong("config")],
    help: "The settings file (default: $TIDEMARK_CONFIG, or /etc/tidemark/tidemark.toml).")
  var path: String?

  var file: String { path ?? environment["TIDEMARK_CONFIG"] ?? "/etc/tidemark/tidemark.toml" }

  /// Loads the settings, or ends with every problem they have.
  func load() throws -> Settings {
    do {
      return try Settings.load(path: file, environment: environment)
    } catch {
      throw CommandFailure(.usage, Self.list(error.problems))
    }
  }

  static func list(_ problems: [Problem]) -> String {
    problems.count == 1
      ? "\(problems[0])"
      : "\(problems.count) problems in the settings\n" + problems.map { "  \($0)" }.joined(separator: "\n")
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

/// Opens one session for a verb, gives it over, closes it; turns what can go wrong into an exit status.
func withSession<T>(_ settings: Settings, _ body: (Session) async throws -> T) async throws -> T {
  let options = ConnectionOptions(settings.database)
  let session: Session
  do {
    session = try await Session.connect(options, threadName: "tidemark")
  } catch {
    throw CommandFailure(.unreachable, "cannot reach the database (\(options.redacted)): \(error.message)")
  }
  do {
    return try await session.closing(body)
  } catch {
    throw commandFailure(error)
  }
}

func commandFailure(_ error: any Error) -> any Error {
  switch error {
  case let problem as StoreProblem: CommandFailure(.failed, "\(problem)", hint: problem.hint)
  case let error as PostgresError where error.isConnectionLoss:
    CommandFailure(.unreachable, "the database went away: \(error.message)")
  case let error as PostgresError:
    CommandFailure(
      .failed, error.message + (error.sqlState.map { " (SQLSTATE \($0.code))" } ?? ""), hint: error.hint ?? error.detail
    )
  default: error
  }
}
