import Operator
import Commands
import Foundation
import Postgres
import Sandbox

/// Measures the real program on a private PostgreSQL, and compares it with other ways to do the same work on the same
/// server.
@main
struct Benchmark {
  static let verb = Verb(
    "benchmark", about: "Measure tidemark on a private PostgreSQL, in one run, and print ratios.",
    discussion: "Build it with `-c release`; packaging/benchmark does.",
    options: [quick, against, only, runs, json, program], alternatives: [["against", "only"]], hasVersion: false
  ) { try await Benchmark(line: $0).run() }

  static let quick: Option<Bool> = .flag("quick", "Measure less of everything, in under a minute.")
  static let against: Option<Bool> = .flag(
    "against",
    "Measure only how many events hand-written ways to follow an event table lose under concurrent writers.")
  static let only: Option<[Measurement]?> = .value(
    "only", .measurements,
    "Only these, separated by commas: \(Measurement.allCases.map(\.rawValue).joined(separator: ", ")).")
  static let runs: Option<Int?> = .value(
    "runs", .integer("NUMBER"), "How often to repeat each varying measurement. Default: 5, or 1 with --quick.")
  static let json: Option<String?> = .value(
    "json", .text("FILE", completion: .files),
    "Write the figures as JSON to this file; - writes them to standard output instead of the table.")
  static let program: Option<String?> = .value(
    "program", .text("FILE", completion: .files),
    "The tidemark program to measure. Default: the one beside this program.")

  static func main() async {
    do {
      switch try verb.parse(Array(CommandLine.arguments.dropFirst())) {
      case .run(let line): try await verb.run?(line)
      case .help(let path): print(HelpPage(path, width: 80).text)
      case .version: break
      }
    } catch let problems as UsageProblems {
      FileHandle.standardError.write(Data((problems.lines.joined(separator: "\n") + "\n").utf8))
      exit(2)
    } catch {
      FileHandle.standardError.write(Data("benchmark: \(error)\n".utf8))
      exit(1)
    }
  }

  let line: ParsedLine

  private var isQuick: Bool { line[Self.quick] }

  func run() async throws {
    let chosen = measurements
    let cluster = try await PrivateCluster.start(settings: Bench.serverSettings)
    do {
      try await measure(chosen, on: cluster)
      await cluster.remove()
    } catch {
      await cluster.remove()
      throw error
    }
  }

  private func measure(_ chosen: [Measurement], on cluster: PrivateCluster) async throws {
    let beside = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent().appending(path: "tidemark").path
    let bench = Bench(
      cluster: cluster, program: line[Self.program] ?? beside, isQuick: isQuick,
      runs: line[Self.runs] ?? (isQuick ? 1 : 5))
    let database = try await bench.database()
    let machine = try await Machine.describe(database.session)
    await database.session.close()
    let json = line[Self.json]
    let isTable = json != "-"
    if isTable {
      for (name, value) in machine.sorted(by: { $0.key < $1.key }) { print("\(name): \(value)") }
      print("\n\(Figure.heading)")
    }
    var figures: [Figure] = []
    for measurement in chosen {
      let measured = try await measurement.measure(bench)
      if isTable { for figure in measured { print(figure.line) } }
      figures += measured
    }
    let report = Report(
      machine: machine, command: "benchmark " + CommandLine.arguments.dropFirst().joined(separator: " "),
      figures: figures)
    if let json {
      if json == "-" {
        print(report.json)
      } else {
        try report.json.write(toFile: json, atomically: true, encoding: .utf8)
      }
    }
  }

  private var measurements: [Measurement] {
    line[Self.against] ? [.against] : line[Self.only] ?? Measurement.allCases.filter { $0 != .against }
  }
}

extension Value where Parsed == [Measurement] {
  fileprivate static var measurements: Value {
    Value("NAME,...", expected: "names of measurements, separated by commas") { text in
      let names = text.split(separator: ",")
      let known = names.compactMap { Measurement(rawValue: String($0)) }
      return known.count == names.count ? known : nil
    }
  }
}

enum Measurement: String, CaseIterable {
  case catchUp = "catch-up"
  case eventForm = "event-form"
  case poison
  case latency
  case idle
  case gaps
  case anatomy
  case growth
  case rebuild
  case failOver = "failover"
  case outage
  case plugins
  case against

  func measure(_ bench: Bench) async throws -> [Figure] {
    switch self {
    case .catchUp: try await CatchUp.measure(bench)
    case .eventForm: try await EventForm.measure(bench)
    case .poison: try await Poison.measure(bench)
    case .latency: try await Latency.measure(bench)
    case .idle: try await Idle.measure(bench)
    case .gaps: try await Gaps.measure(bench)
    case .anatomy: try await Anatomy.measure(bench)
    case .growth: try await Growth.measure(bench)
    case .rebuild: try await Rebuild.measure(bench)
    case .failOver: try await FailOver.measure(bench)
    case .outage: try await Outage.measure(bench)
    case .plugins: try await PluginSpeed.measure(bench)
    case .against: try await Against.measure(bench)
    }
  }
}
