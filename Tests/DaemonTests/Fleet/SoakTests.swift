import Foundation
import Postgres
import Sandbox
import Synchronization
import TestSupport
import Testing

/// Everything that can happen to nodes and their server, at random and all the time, with writers beside it; then a recount.
///
/// Ten seconds of it in every run of the tests. `TIDEMARK_SOAK=120` is two minutes; `TIDEMARK_SEED` repeats the order of a run whose
/// seed was printed, as far as processes can be made to repeat anything.
@Suite(.gated) struct `A fleet under attack` {
  @Test(.timeLimit(.minutes(15))) func `loses nothing and applies nothing twice`() async throws {
    let environment = ProcessInfo.processInfo.environment
    let length = Duration.seconds(environment["TIDEMARK_SOAK"].flatMap { Int($0) } ?? 10)
    let seed = walkSeed()
    print("soak: \(length) with TIDEMARK_SEED=\(seed)")
    let cluster = try await PrivateCluster.start(settings: ["fsync": "off"], listensOnTCP: true)
    let proxy = try Proxy(to: cluster.port)
    defer { proxy.end() }
    try await Fleet.with(counters: 8, withSamples: true, on: cluster) { fleet in
      var attack = Attack(fleet: fleet, cluster: cluster, proxy: proxy, random: SplitMix(seed: seed))
      do { try await attack.run(for: length, seed: seed) } catch {
        Issue.record("soak with TIDEMARK_SEED=\(seed): \(error); \(attack.log)")
        throw error
      }
    }
    await cluster.remove()
  }

  private struct Attack {
    let fleet: Fleet
    let cluster: PrivateCluster
    let proxy: Proxy
    var random: SplitMix
    /// Nodes that sleep, and when they wake.
    var frozen: [pid_t: ContinuousClock.Instant] = [:]
    var healsAt: ContinuousClock.Instant?
    var log: [String] = []
    var began = ContinuousClock.now

    mutating func run(for length: Duration, seed: UInt64) async throws {
      began = .now
      let writers = Task { [fleet, seed] in
        await withTaskGroup(of: Void.self) { group in
          for number in 1...3 {
            group.addTask { await Self.write(fleet.database.options, seed: seed &* 31 &+ UInt64(number) << 20) }
          }
        }
      }
      do {
        for number in 0..<4 { try await start(throughProxy: number == 0) }
        let end = ContinuousClock.now + length
        while ContinuousClock.now < end {
          try await step()
          try await Task.sleep(for: .milliseconds(Int.random(in: 50...1200, using: &random)))
          try await wake(all: false)
        }
        try await wake(all: true)
      } catch {
        writers.cancel()
        await writers.value
        for pid in frozen.keys { Glibc.kill(pid, SIGCONT) }
        throw error
      }
      writers.cancel()
      await writers.value
      if await fleet.nodes.isEmpty { try await start(throughProxy: false) }
      try await fleet.balanced(among: await fleet.nodes.count, within: .seconds(60))
      try await fleet.isRight()
      let (recount, letters) = (
        try await fleet.database.recount(),
        try await fleet.database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self)
      )
      #expect(recount == ["trip": 0, "day": 0, "account": 0], "TIDEMARK_SEED=\(seed) \(log)")
      #expect(letters == 0, "TIDEMARK_SEED=\(seed) \(log)")
      let events = try await fleet.database.value("SELECT count(*) FROM mt_events", as: Int.self)
      #expect(events > 100)
      print("soak: \(events) events, \(log.count) attacks: \(log.joined(separator: ", "))")
    }

    private mutating func step() async throws {
      let awake = await fleet.nodes.filter { frozen[$0.pid] == nil }
      for node in awake { #expect(Glibc.kill(node.pid, 0) == 0, "nobody ended it") }
      let dice = Int.random(in: 0..<100, using: &random)
      let node = awake.randomElement(using: &random)
      switch dice {
      case 0..<25:
        guard let node else { return }
        note("kill \(node.pid)")
        try await fleet.kill(node)
      case 25..<45:
        guard let node else { return }
        let length = Duration.milliseconds(Int.random(in: 100...8_000, using: &random))
        note("freeze \(node.pid) for \(length)")
        node.send(SIGSTOP)
        frozen[node.pid] = .now + length
      case 45..<52:
        guard let node else { return }
        note("stop \(node.pid)")
        try await fleet.stop(node)
      case 52..<80:
        guard await fleet.nodes.count < 5 else { return }
        try await start(throughProxy: Int.random(in: 0..<3, using: &random) == 0)
      case 80..<88:
        note("end sessions")
        try? await fleet.database.script(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidemark' AND pid <> pg_backend_pid() AND random() < 0.3"
        )
      case 88..<91:
        let length = Duration.milliseconds(Int.random(in: 100...8_000, using: &random))
        note("freeze the server for \(length)")
        let processes = cluster.processes
        for pid in processes { Glibc.kill(pid, SIGSTOP) }
        try await Task.sleep(for: length)
        for pid in processes { Glibc.kill(pid, SIGCONT) }
      case 91..<95:
        guard healsAt == nil else { return }
        let length = Duration.milliseconds(Int.random(in: 100...8_000, using: &random))
        note("cut for \(length)")
        proxy.cut()
        healsAt = .now + length
      default:
        let mode: PrivateCluster.StopMode = Bool.random(using: &random) ? .immediate : .fast
        note("restart the server (\(mode.rawValue))")
        await cluster.stop(mode)
        try await Task.sleep(for: .milliseconds(Int.random(in: 0...1500, using: &random)))
        try await cluster.startServer()
      }
    }

    private mutating func wake(all: Bool) async throws {
      for (pid, at) in frozen where all || at <= .now {
        Glibc.kill(pid, SIGCONT)
        frozen[pid] = nil
      }
      if let at = healsAt, all || at <= .now {
        proxy.heal()
        healsAt = nil
      }
    }

    private mutating func start(throughProxy: Bool) async throws {
      let conninfo =
        throughProxy
        ? fleet.database.conninfo.replacing("port=\(cluster.port)", with: "port=\(proxy.port)")
        : fleet.database.conninfo
      let node = try await fleet.start(try fleet.config(conninfo: conninfo))
      note("start \(node.pid)\(throughProxy ? " behind the proxy" : "")")
    }

    private mutating func note(_ what: String) {
      log.append(
        "\((ContinuousClock.now - began).formatted(.units(allowed: [.seconds], fractionalPart: .show(length: 1)))): \(what)"
      )
    }

    /// Until the task is cancelled, whatever becomes of the server.
    private static func write(_ options: ConnectionOptions, seed: UInt64) async {
      var options = options
      options.applicationName = "writer"
      var seed = seed
      while !Task.isCancelled {
        _ = try? await SampleWriter(seed: seed).run(options)
        seed += 1
        try? await Task.sleep(for: .milliseconds(50))
      }
    }
  }
}
