import ArgumentParser
import Foundation
import Postgres
import Sandbox

/// Measures the real program against a private PostgreSQL, and against other ways to do the same work on the same server.
@main
struct Benchmark: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "benchmark",
    abstract: "Measures tidemark against a private PostgreSQL, in one run, and prints ratios.",
    discussion: "Build it with `-c release`; packaging/benchmark does.")

  @Flag(help: "Less of everything: under a minute, for a look.")
  var quick = false

  @Flag(help: "Only this: ways to follow an event table by hand under concurrent writers, and what each of them lost.")
  var against = false

  @Option(help: "Only these, separated by commas: \(Measurement.allCases.map(\.rawValue).joined(separator: ", ")).")
  var only: String?

  @Option(help: "How often what varies is measured.")
  var runs: Int?

  @Option(help: "Write the figures as JSON into this file; - is standard output, instead of the table.")
  var json: String?

  @Option(help: "The tidemark to measure, where it is not beside this program.")
  var program: String?

  func run() async throws {
    let chosen = try measurements()
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
    let bench = Bench(cluster: cluster, program: program ?? beside, isQuick: quick, runs: runs ?? (quick ? 1 : 5))
    let database = try await bench.database()
    let machine = try await Machine.describe(database.session)
    await database.session.close()
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

  private func measurements() throws -> [Measurement] {
    if against { return [.against] }
    guard let only else { return Measurement.allCases.filter { $0 != .against } }
    return try only.split(separator: ",").map { name in
      guard let measurement = Measurement(rawValue: String(name)) else {
        throw ValidationError("there is no measurement \"\(name)\"")
      }
      return measurement
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
    case .plugins: try await PluginSpeed.measure(bench)
    case .against: try await Against.measure(bench)
    }
  }
}
