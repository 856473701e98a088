import ArgumentParser
import Concurrency
@preconcurrency import Glibc
import Systemd

/// The command line. Every verb is a type in `Verbs/`; this decides the exit status.
@main
struct Tidemark: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tidemark",
    abstract: "Keeps read models up to date from an event table in PostgreSQL.",
    discussion: """
      Exit status: 0 done, 1 the thing asked for failed, 2 usage or configuration, 3 the database cannot be reached, 4 timed out.
      """,
    version: tidemarkVersion,
    subcommands: [
      Run.self, Check.self, Init.self, List.self, Status.self, Wait.self, Pause.self, Resume.self, Stop.self,
      Start.self,
      RebuildVerb.self, Forget.self, DeadLettersVerb.self, PluginVerb.self, PrintConfig.self, Demo.self,
      Manual.self,
    ])

  static func main() {
    // A closed pipe is an error to handle where it is written to.
    signal(SIGPIPE, SIG_IGN)
    // Before the first thread. This one takes signals from here on, and all else happens on others.
    _ = signals
    Task.detached { await work() }
    signals.take()
  }

  private static func work() async -> Never {
    setvbuf(stdout, nil, _IOLBF, 0)
    do {
      var command = try parseAsRoot()
      if var command = command as? any AsyncParsableCommand {
        try await command.run()
      } else {
        try command.run()
      }
      Glibc.exit(ExitStatus.done.rawValue)
    } catch let failure as CommandFailure {
      printError(failure.description)
      Glibc.exit(failure.status.rawValue)
    } catch {
      // Help and version are "errors" to the parser, with status 0; every other one of its own is a usage error.
      let text = fullMessage(for: error)
      if exitCode(for: error) == .success {
        print(text)
        Glibc.exit(ExitStatus.done.rawValue)
      }
      printError(text)
      Glibc.exit(exitCode(for: error) == .validationFailure ? ExitStatus.usage.rawValue : ExitStatus.failed.rawValue)
    }
  }
}

/// A hangup means "read the settings again" once the daemon runs, and nothing before.
let signals = Signals(holding: [SIGHUP, SIGTERM, SIGINT])

let tidemarkVersion = "0.1.0"

/// The exit statuses of every verb.
enum ExitStatus: Int32 {
  case done = 0
  /// The thing asked for failed.
  case failed = 1
  /// Usage or configuration.
  case usage = 2
  /// The database cannot be reached.
  case unreachable = 3
  case timedOut = 4
}

/// A verb that did not do what was asked: what to print, and how to exit.
struct CommandFailure: Error, CustomStringConvertible {
  var status: ExitStatus
  var message: String
  var hint: String?

  init(_ status: ExitStatus, _ message: String, hint: String? = nil) {
    self.status = status
    self.message = message
    self.hint = hint
  }

  var description: String {
    "tidemark: \(message)" + (hint.map { "\n  hint: \($0)" } ?? "")
  }
}

/// On standard error; in the journal as entries of level error, which is what the prefix of sd-daemon(3) asks for.
func printError(_ text: String) {
  let lines = text.split(separator: "\n").map { Journal.isStandardError ? "<3>\($0)" : String($0) }
  fputs(lines.joined(separator: "\n") + "\n", stderr)
}
