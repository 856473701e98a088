package import Foundation
import Postgres
import Rules
package import Sandbox
package import Testing

/// Real daemons as processes on one store, writers beside them, and at the end a recount: nothing lost, nothing twice.
package actor Fleet {
  /// Counters that keep every sequence they applied, so that a loss or a repetition is seen.
  package static func counters(_ numbers: ClosedRange<Int> = 1...12) -> String {
    numbers.map { n in
      """
      [projections.P\(n)]
      tables = ["p\(n)"]
      setup = "CREATE TABLE p\(n) (seq bigint)"
      sql = "INSERT INTO p\(n) SELECT seq_id FROM batch"

      """
    }.joined()
  }

  package nonisolated let database: TestDatabase
  /// How many counters there are.
  package nonisolated let counters: Int
  /// Every projection, as its settings file has it, and its shards.
  package nonisolated let projections: String
  package nonisolated let shards: [String]
  package nonisolated let head: String
  package nonisolated let eventStore: String
  package private(set) var nodes: [DaemonProcess] = []

  private init(_ database: TestDatabase, counters: Int, withSamples: Bool, head: String, eventStore: String) {
    self.database = database
    self.counters = counters
    self.head = head
    self.eventStore = eventStore
    projections = Self.counters(1...counters) + (withSamples ? SampleProjections.toml : "")
    shards = (1...counters).map { "P\($0):All" } + (withSamples ? ["Trip:All", "Day:All", "Ledger:All"] : [])
  }

  package nonisolated var count: Int { shards.count }

  /// - Parameter head: settings before the first table.
  package static func with(
    counters: Int = 12, withSamples: Bool = false, on cluster: PrivateCluster? = nil, head: String = "",
    append: String = "quick", grace: String? = nil,
    _ body: @Sendable (Fleet) async throws -> Void
  ) async throws {
    let database =
      if let cluster { try await TestDatabase.make(on: cluster) } else { try await TestDatabase.make() }
    let fleet = Fleet(
      database, counters: counters, withSamples: withSamples,
      head: "mode = \"hotcold\"\nstop_timeout = \"10s\"\n\(head)",
      eventStore: "append = \"\(append)\"" + (grace.map { "\ngap_grace = \"\($0)\"" } ?? ""))
    do {
      let installed = try await Program.run(["init", "-c", try fleet.config()])
      #expect(installed.code == 0, "\(installed)")
      try await body(fleet)
      try await fleet.stop()
    } catch {
      await fleet.kill()
      throw error
    }
  }

  /// A settings file of its own.
  package nonisolated func config(conninfo: String? = nil, projections: String? = nil, database more: String = "")
    throws
    -> String
  {
    try Program.settings(
      conninfo ?? database.conninfo, projections ?? self.projections, head: head, database: more,
      eventStore: eventStore)
  }

  @discardableResult
  package func start(_ config: String? = nil, prefix: [String] = [], environment: [String: String] = [:]) async throws
    -> DaemonProcess
  {
    let node = try await DaemonProcess.start(try config ?? self.config(), prefix: prefix, environment: environment)
    nodes.append(node)
    return node
  }

  package func start(_ number: Int) async throws { for _ in 0..<number { try await start() } }

  /// Kills a node for good.
  package func kill(_ node: DaemonProcess) async throws {
    node.send(SIGKILL)
    _ = try await node.outcome()
    nodes.removeAll { $0.pid == node.pid }
  }

  package func stop(_ node: DaemonProcess) async throws {
    try await node.holdsSignals()
    let outcome = try await node.stop()
    #expect(outcome.code == 0, "\(outcome)")
    nodes.removeAll { $0.pid == node.pid }
  }

  package func stop() async throws { for node in nodes { try await stop(node) } }

  private func kill() async {
    for node in nodes {
      node.send(SIGKILL)
      _ = try? await node.outcome()
    }
  }

  /// Shards by process, as the locks say: nobody's word is asked.
  package nonisolated func led() async throws -> [pid_t: Set<String>] {
    let keys = shards.map { LeaderLock.key(schema: "public", shard: $0) }
    return try await database.connected { session in
      try await session.execute(
        """
        WITH held AS MATERIALIZED (
            SELECT l.pid, l.classid::bigint << 32 | l.objid::bigint AS key
              FROM pg_locks AS l
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
               AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()))
        SELECT split_part(n.name, '/', 2) AS node, s.name AS shard
          FROM tidemark.node AS n
          JOIN held AS a ON a.key = n.lock_key
          LEFT JOIN (held AS b JOIN unnest(\(shards)::text[], \(keys)::bigint[]) AS s (name, key) ON s.key = b.key)
            ON b.pid = a.pid
        """
      ).rows.reduce(into: [:]) {
        let node = try $1.get("node", as: pid_t.self)
        $0[node, default: []].formUnion(try $1.get("shard", as: String?.self).map { [$0] } ?? [])
      }
    }
  }

  /// Waits until so many nodes lead all shards, none of them more than one and a half times its share.
  package nonisolated func balanced(
    among number: Int, within limit: Duration = .seconds(30), sourceLocation: Testing.SourceLocation = #_sourceLocation
  ) async throws {
    var last: [pid_t: Set<String>] = [:]
    do {
      try await eventually(within: limit, "\(count) shards on \(number) nodes", sourceLocation: sourceLocation) {
        last = try await led()
        return last.count == number && last.values.reduce(0) { $0 + $1.count } == count
          && last.values.allSatisfy { $0.count * 2 <= (count + number - 1) / number * 3 }
      }
    } catch {
      Issue.record("led at last: \(last)", sourceLocation: sourceLocation)
      throw error
    }
  }

  /// Waits until this node alone leads everything.
  package nonisolated func ledAlone(
    by node: DaemonProcess, within limit: Duration = .seconds(30),
    sourceLocation: Testing.SourceLocation = #_sourceLocation
  ) async throws {
    try await eventually(within: limit, "one node leads all", sourceLocation: sourceLocation) {
      try await led()[node.pid]?.count == count
    }
  }

  /// Every event once in every counter.
  package nonisolated func isRight(sourceLocation: Testing.SourceLocation = #_sourceLocation) async throws {
    let caught = try await Program.run(["wait", "--timeout", "60s", "-c", try config()])
    #expect(caught.code == 0, "\(caught)", sourceLocation: sourceLocation)
    if caught.code != 0 {
      let status = try await Program.run(["status", "-c", try config()])
      Issue.record("\(status.output)", sourceLocation: sourceLocation)
    }
    for n in 1...counters {
      let wrong = try await database.value(
        """
        SELECT count(*) FROM (SELECT seq_id, count(p.seq) AS times FROM mt_events LEFT JOIN \(identifier: "p\(n)") AS p ON p.seq = seq_id
                               GROUP BY 1) AS t WHERE times <> 1
        """, as: Int.self)
      #expect(wrong == 0, "P\(n)", sourceLocation: sourceLocation)
    }
  }

  /// Runs the body with writers beside it, which go on until it is done.
  package nonisolated func writing(_ writers: Int = 2, _ body: () async throws -> Void) async throws {
    let database = database
    let task = Task {
      try await withThrowingTaskGroup(of: Int.self) { group in
        for number in 1...writers {
          group.addTask { try await SampleWriter(seed: UInt64(number)).run(database.options) }
        }
        return try await group.reduce(0, +)
      }
    }
    do { try await body() } catch {
      task.cancel()
      _ = await task.result
      throw error
    }
    task.cancel()
    #expect(try await task.value > 0)
  }
}
