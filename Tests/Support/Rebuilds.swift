import Operator
package import Books
import Daemon
import EventStore
import Foundation
import Postgres
import Rules
import Sandbox
package import Settings
package import Telemetry
import Testing

/// A rebuild of this process, as `--here` does it.
extension TestDatabase {
  @discardableResult
  package func rebuild(
    _ settings: Settings, _ name: String, _ request: RebuildTable.Request = .init(), restart: Bool = false,
    byNode: Bool = false, observer: any Observer = ObservationRecorder()
  ) async throws -> RebuildTable.Row {
    let definition = settings.projections.first { $0.name == name }!
    let shape = try await connected { session in
      _ = try await RebuildRequests(by: "a test", byNode: byNode).ask(
        request, for: definition, restart: restart, session)
      return try await StoreShape.read(session, schema: settings.eventStore.schema)
    }
    if byNode { return try await rebuilt("\(definition.shard)") }
    let context = ShardContext(
      definition, shape: shape, policy: { settings.rebuildPolicy }, node: "test", observer: observer)
    let runner = RebuildRunner(context, options: options, workMemory: settings.database.workMemory)
    try await runner.run()
    return try await rebuilt("\(definition.shard)")
  }

  /// The row of a rebuild once it has ended one way or another.
  package func rebuilt(_ shard: String) async throws -> RebuildTable.Row {
    let session = try await Session.connect(options, threadName: "test")
    return try await session.closing { session in
      var row: RebuildTable.Row?
      // One that readers hinder takes half a minute by itself.
      try await eventually(within: .seconds(120), "the end of the rebuild of \(shard)") {
        row = try await RebuildTable().read(shard, session)
        return row.map { !$0.state.isOpen } ?? false
      }
      return row!
    }
  }

  /// Runs the daemon until everything appended is applied.
  package func follow(_ settings: Settings) async throws {
    try await withDaemon(settings) { try await $0.caughtUp() }
  }

  /// Waits until a node is known, as verbs look for one.
  package func hasNode() async throws {
    try await eventually("a node that follows the store") {
      try await value("SELECT EXISTS (SELECT FROM tidemark.node AS n WHERE tidemark_internal.is_alive(n.lock_key))")
    }
  }

  /// Schemas that a rebuild has left behind.
  package func leftovers() async throws -> Int {
    try await value(
      "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tidemark\\_rebuild%') + (SELECT count(*) FROM tidemark.rebuild_worker)"
    )
  }
}

extension TestDatabase {
  /// Starts a node after another was killed in the middle of a rebuild, which it cannot take up until its live shard waits for it.
  package func startBehindRebuild(of shard: String, _ config: String) async throws -> DaemonProcess {
    try await connected { session in
      try await eventually("the killed node has let go") { try await RebuildLock.take(shard, session) }
      let node = try await DaemonProcess.start(config)
      try await eventually("the live shard waits") {
        try await value(
          "SELECT EXISTS (SELECT FROM tidemark.shard WHERE name = \(shard) AND reason = 'by a rebuild' AND node LIKE \("%/\(node.pid)"))"
        )
      }
      return node
    }
  }
}
