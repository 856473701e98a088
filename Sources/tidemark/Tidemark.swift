import Commands
import Concurrency
@preconcurrency import Glibc
import Processes
import Telemetry

/// The program: its command line, whose verbs are in `Verbs/`, and its exit status.
@main
enum Tidemark {
  static let program: Verb = Verb(
    "tidemark", about: "Keeps read models up to date from an event table in PostgreSQL.",
    discussion: """
      Tidemark follows an event table, knows up to which sequence it is safe to read, and feeds every event, in order and once, through the
      projections of tidemark.toml(5).

      Where the settings have several databases, `init`, `check`, `status`, `wait`, `pause`, `resume`, `stop` and `start` take them one
      after the other, and one that is away does not keep the others from their turn; --database chooses one, and is needed by the other
      verbs that ask a database.

      Exit status: \(ExitStatus.allCases.map { "\($0.rawValue) \($0.meaning)" }.joined(separator: ", ")).
      """,
    groups: [
      VerbGroup("Set up", [Init.verb, Check.verb, PrintConfig.verb, Demo.verb]),
      VerbGroup("Follow", [Run.verb, List.verb, Status.verb, Wait.verb]),
      VerbGroup("Steer", [Pause.verb, Resume.verb, StopVerb.verb, Start.verb, RebuildVerb.verb, Forget.verb]),
      VerbGroup("Look after events and plugins", [DeadLettersVerb.verb, PluginVerb.verb]),
      VerbGroup("Help", [.helpVerb, Completions.verb, Manual.verb { program }, Complete.verb { program }]),
    ])

  static func main() {
    // A closed pipe is an error to handle where it is written to.
    signal(SIGPIPE, SIG_IGN)
    // Our parent may ignore it, and then the system keeps no status of a child that has ended.
    signal(SIGCHLD, SIG_DFL)
    // A stream that is closed would be the number of the next file that is opened.
    for stream: Int32 in 0...2 where fcntl(stream, F_GETFD) < 0 { _ = open("/dev/null", O_RDWR) }
    // Before the first thread. This one takes signals from here on, and all else happens on others.
    _ = signals
    setvbuf(stdout, nil, _IOLBF, 0)
    let line = parsedLine()
    // The daemon is told to stop from its first moment on, and other verbs end as any program does.
    if line.verb.name == Run.verb.name { _ = Run.stops }
    Task.detached { await work(line) }
    signals.take(beforeEnd: Child.killDependants)
  }

  /// What is asked for; answers by itself what needs no verb, and every wrong use.
  private static func parsedLine() -> ParsedLine {
    do throws(UsageProblems) {
      switch try program.parse(Array(CommandLine.arguments.dropFirst())) {
      case .run(let line): return line
      case .help(let path): print(HelpPage(path, width: terminalWidth()).text)
      case .version: print(tidemarkVersion)
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
      printError(failure.description)
      Glibc.exit(failure.status.rawValue)
    } catch {
      printError("tidemark: \(error)")
      Glibc.exit(ExitStatus.failed.rawValue)
    }
  }
}
