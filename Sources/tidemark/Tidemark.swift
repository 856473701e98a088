import CLinux
import Commands
import Concurrency
@preconcurrency import Glibc
import Processes
import Rules
import Telemetry

/// The program: its command line and its exit status. The verbs are in `Verbs/`.
@main
enum Tidemark {
  static let program: Verb = Verb(
    "tidemark", about: "Keeps read models up to date from an event table in PostgreSQL.",
    discussion: """
      Tidemark follows an event table, determines up to which sequence it is safe to read, and feeds every event, in order and once, through
      the projections of tidemark.toml(5).

      If the settings have several databases, `init`, `check`, `status`, `wait`, `pause`, `resume`, `stop` and `start` process them one
      after another; an unreachable database does not stop them from processing the others. --database selects one database; the other verbs
      that use a database require it.

      Exit status: \(ExitStatus.allCases.map { "\($0.rawValue) \($0.meaning)" }.joined(separator: ", ")).
      """,
    groups: [
      VerbGroup("Set up", [Init.verb, Check.verb, PrintConfig.verb, Demo.verb]),
      VerbGroup("Follow", [Run.verb, List.verb, Status.verb, Wait.verb]),
      VerbGroup(
        "Control", [Pause.verb, Resume.verb, StopVerb.verb, Start.verb, RebuildVerb.verb, Move.verb, Forget.verb]),
      VerbGroup("Manage dead letters and plugins", [DeadLettersVerb.verb, PluginVerb.verb]),
      VerbGroup("Help", [.helpVerb, Completions.verb, Manual.verb { program }, Complete.verb { program }]),
    ])

  static func main() {
    // The code that writes to a closed pipe handles the error.
    signal(SIGPIPE, SIG_IGN)
    tidemark_say_crashes()
    // If our parent ignores SIGCHLD, we inherit that, and the system would discard the exit status of our children.
    signal(SIGCHLD, SIG_DFL)
    // If a standard stream is closed, the next opened file would get its number.
    for stream: Int32 in 0...2 where fcntl(stream, F_GETFD) < 0 { _ = open("/dev/null", O_RDWR) }
    // Hold signals before the first thread starts. From here on this thread only takes signals; everything else runs on
    // other threads.
    _ = signals
    setvbuf(stdout, nil, _IOLBF, 0)
    let line = parsedLine()
    // The daemon handles stop signals from its first moment; for other verbs they keep their default effect.
    if line.verb.name == Run.verb.name { _ = Run.stop }
    Task.detached { await work(line) }
    signals.take { end in
      Child.killDependants()
      guard line.verb.name == Run.verb.name else { return }
      Run.log.drain(within: .milliseconds(200))
      if end == .lateStop {
        printError("tidemark: the stop took longer than stop_timeout allows: the process ends now", within: .seconds(1))
      }
    }
  }

  /// The parsed command line. Prints help, the version and usage errors itself, and exits then.
  private static func parsedLine() -> ParsedLine {
    do throws(UsageProblems) {
      switch try program.parse(Array(CommandLine.arguments.dropFirst())) {
      case .run(let line): return line
      case .help(let path): printResult(HelpPage(path, width: terminalWidth()).text)
      case .version: printResult(tidemarkVersion)
      }
      Glibc.exit(ExitStatus.done.rawValue)
    } catch {
      printError(error.lines.map(printable).joined(separator: "\n"))
      Glibc.exit(ExitStatus.usage.rawValue)
    }
  }

  private static func work(_ line: ParsedLine) async -> Never {
    do {
      try await line.verb.run?(line)
      Glibc.exit(ExitStatus.done.rawValue)
    } catch let failure as CommandFailure {
      // The daemon ends even where nobody reads its last words.
      printError(failure.description, within: line.verb.name == Run.verb.name ? .seconds(1) : nil)
      Glibc.exit(failure.status.rawValue)
    } catch {
      printError(printable("tidemark: \(error)"))
      Glibc.exit(ExitStatus.failed.rawValue)
    }
  }
}
