import Foundation
import Postgres
import Rules
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
    /// Nodes that may open only a few descriptors more, and until when.
    var limited: [pid_t: ContinuousClock.Instant] = [:]
    var healsAt: ContinuousClock.Instant?
    /// When the database takes writes again.
    var writableAt: ContinuousClock.Instant?
    var length = Duration.zero
    var log: [String] = []
    var began = ContinuousClock.now

    mutating func run(for length: Duration, seed: UInt64) async throws {
      began = .now
      self.length = length
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
      case 0..<22:
        guard let node else { return }
        note("kill \(node.pid)")
        try await fleet.kill(node)
      case 22..<40:
        guard let node else { return }
        let length = moment(8)
        note("freeze \(node.pid) for \(length)")
        node.send(SIGSTOP)
        frozen[node.pid] = .now + length
      case 40..<47:
        guard let node else { return }
        note("stop \(node.pid)")
        try await fleet.stop(node)
      case 47..<72:
        guard await fleet.nodes.count < 5 else { return }
        try await start(throughProxy: Int.random(in: 0..<3, using: &random) == 0)
      case 72..<79:
        note("end sessions")
        try? await fleet.database.script(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidemark' AND pid <> pg_backend_pid() AND random() < 0.3"
        )
      case 79..<82:
        let length = moment(8)
        note("freeze the server for \(length)")
        let processes = cluster.processes
        for pid in processes { Glibc.kill(pid, SIGSTOP) }
        try await Task.sleep(for: length)
        for pid in processes { Glibc.kill(pid, SIGCONT) }
      case 82..<86:
        guard healsAt == nil else { return }
        let length = moment(20)
        note("cut for \(length)")
        proxy.cut()
        healsAt = .now + length
      case 86..<90:
        guard let node else { return }
        let length = moment(8)
        note("no descriptors to spare for \(node.pid) for \(length)")
        let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(node.pid)/fd").count
        try await limitDescriptors(of: node.pid, to: open + Int.random(in: 4...8, using: &random))
        limited[node.pid] = .now + length
      case 90..<94:
        guard writableAt == nil else { return }
        let length = moment(8)
        note("read-only for \(length)")
        guard (try? await setReadOnly(true)) != nil else { return }
        writableAt = .now + length
      default:
        let mode: PrivateCluster.StopMode = Bool.random(using: &random) ? .immediate : .fast
        let length = Bool.random(using: &random) ? moment(1.5) : moment(20)
        note("an outage of the server (\(mode.rawValue)) for \(length)")
        await cluster.stop(mode)
        try await Task.sleep(for: length)
        try await cluster.startServer()
      }
    }

    /// A length up to this many seconds, and never longer than the whole attack.
    private mutating func moment(_ longest: Double) -> Duration {
      min(.milliseconds(Int.random(in: 100...Int(longest * 1_000), using: &random)), length)
    }

    private mutating func wake(all: Bool) async throws {
      for (pid, at) in frozen where all || at <= .now {
        Glibc.kill(pid, SIGCONT)
        frozen[pid] = nil
      }
      for (pid, at) in limited where all || at <= .now {
        // It may have been killed meanwhile.
        try? await limitDescriptors(of: pid, to: 4_096)
        limited[pid] = nil
      }
      if let at = healsAt, all || at <= .now {
        proxy.heal()
        healsAt = nil
      }
      if let at = writableAt, all || at <= .now, (try? await setReadOnly(false)) != nil { writableAt = nil }
      if all { #expect(writableAt == nil, "the database takes writes again") }
    }

    private func limitDescriptors(of pid: pid_t, to limit: Int) async throws {
      let outcome = try await Program.command(["prlimit", "--pid", "\(pid)", "--nofile=\(limit):"])
      if outcome.code != 0 { throw Problem(outcome.error) }
    }

    /// For sessions that are there, too: those of nodes end.
    private func setReadOnly(_ isReadOnly: Bool) async throws {
      let name = fleet.database.name
      let change = isReadOnly ? "SET default_transaction_read_only = on" : "RESET default_transaction_read_only"
      try await fleet.database.script(
        """
        SET TRANSACTION READ WRITE; ALTER DATABASE \(name) \(change);
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = '\(name)' AND application_name = 'tidemark' AND pid <> pg_backend_pid()
        """)
    }

    private mutating func start(throughProxy: Bool) async throws {
      let conninfo =
        throughProxy
        ? fleet.database.conninfo.replacing("port=\(cluster.port)", with: "port=\(proxy.port)")
        : fleet.database.conninfo
      let isRead = Int.random(in: 0..<4, using: &random) > 0
      let node = try await fleet.start(try fleet.config(conninfo: conninfo), prefix: isRead ? [] : try Self.unread())
      note("start \(node.pid)\(throughProxy ? " behind the proxy" : "")\(isRead ? "" : ", its log is not read")")
    }

    /// A command that becomes another, with a full pipe for its log that nobody reads.
    private static func unread() throws -> [String] {
      let pipe = FileManager.default.temporaryDirectory.appending(path: "unread-\(UUID().uuidString)").path
      let script = "mkfifo \(pipe) && exec 3<>\(pipe) && head -c 65536 /dev/zero >&3; exec \"$@\" 2>&3"
      return ["sh", "-c", script, "sh"]
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
