import Operator
import Books
import Daemon
import EventStore
import Foundation
import Postgres
import Rules
import Sandbox
import Settings
import Telemetry
import Testing

/// A rebuild of this process, as `--here` does it.
extension TestDatabase {
  @discardableResult
  func rebuild(
    _ settings: Settings, _ name: String, _ request: RebuildTable.Request = .init(), restart: Bool = false,
    byNode: Bool = false, observer: any Observer = ObservationRecorder()
  ) async throws -> RebuildTable.Row {
    let definition = settings.projections.first { $0.name == name }!
    let shape = try await connected { session in
      _ = try await RebuildDesk(by: "a test", byNode: byNode).ask(
        request, for: definition, restart: restart, session)
      return try await StoreShape.read(session, schema: settings.eventStore.schema)
    }
    if byNode { return try await rebuilt("\(definition.shard)") }
    let runner = RebuildRunner(
      definition, shape: shape, options: options, workMemory: settings.database.workMemory,
      policy: { settings.rebuildPolicy }, node: "test", observer: observer)
    try await runner.run()
    return try await rebuilt("\(definition.shard)")
  }

  /// The row of a rebuild once it has ended one way or another.
  func rebuilt(_ shard: String) async throws -> RebuildTable.Row {
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
  func follow(_ settings: Settings) async throws {
    try await withDaemon(settings) { try await $0.caughtUp() }
  }

  /// Waits until a node is known, as verbs look for one.
  func hasNode() async throws {
    try await eventually("a node that follows the store") {
      try await value("SELECT EXISTS (SELECT FROM tidemark.node AS n WHERE tidemark.is_alive(n.lock_key))")
    }
  }

  /// Schemas that a rebuild has left behind.
  func leftovers() async throws -> Int {
    try await value(
      "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tidemark\\_rebuild%') + (SELECT count(*) FROM tidemark.rebuild_worker)"
    )
  }
}

@Suite(.gated) struct `A rebuild` {
  @Test(arguments: ["Trip", "Day", "Ledger"], [WishedWay.swap, .copy])
  func `gives the same rows as before when nothing has changed, twice in a row`(name: String, way: WishedWay)
    async throws
  {
    let database = try await TestDatabase.make()
    let settings = try await database.install(SampleProjections.toml)
    _ = try await database.write(writers: 3, transactions: 60)
    try await database.follow(settings)
    for _ in 0..<2 {
      var request = RebuildTable.Request()
      request.way = way
      let row = try await database.rebuild(settings, name, request)
      #expect(row.state == .done && row.chosenWay == way && row.error == nil, "\(row)")
      #expect(try await database.recount() == ["trip": 0, "day": 0, "account": 0])
      #expect(try await database.position("\(name):All") == row.position)
      #expect(try await database.leftovers() == 0)
    }
    // The live side goes on as if nothing had been.
    _ = try await database.write(writers: 2, transactions: 30, seed: 99)
    try await database.follow(settings)
    #expect(try await database.recount() == ["trip": 0, "day": 0, "account": 0])
  }

  @Test(arguments: [WishedWay.swap, .copy])
  func `takes stale rows away, brings missing ones back, and leaves other projections alone`(way: WishedWay)
    async throws
  {
    let database = try await TestDatabase.make()
    let settings = try await database.install(SampleProjections.toml)
    _ = try await database.write(writers: 2, transactions: 40)
    try await database.follow(settings)
    try await database.script(
      """
      INSERT INTO trip VALUES (gen_random_uuid(), 'nobody', 1, 1, 1);
      DELETE FROM trip WHERE id = (SELECT id FROM trip WHERE driver IS DISTINCT FROM 'nobody' LIMIT 1);
      UPDATE trip SET traveled = traveled + 1 WHERE id = (SELECT id FROM trip WHERE driver IS DISTINCT FROM 'nobody' LIMIT 1);
      UPDATE day SET legs = -1
      """)
    #expect(try await database.recount()["trip"]! > 0)
    var request = RebuildTable.Request()
    request.way = way
    try await database.rebuild(settings, "Trip", request)
    let wrong = try await database.recount()
    #expect(wrong["trip"] == 0 && wrong["day"]! > 0)
  }

  @Test(arguments: [WishedWay.swap, .copy])
  func `goes on beside writers and the live shard, and loses and repeats nothing`(way: WishedWay) async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(SampleProjections.toml)
    _ = try await database.write(writers: 3, transactions: 60)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      let writing = Task { try await database.write(writers: 3, transactions: 250, seed: 50) }
      for name in ["Trip", "Ledger", "Trip", "Day", "Ledger"] {
        var request = RebuildTable.Request()
        request.way = way
        let row = try await database.rebuild(settings, name, request, byNode: true)
        #expect(row.state == .done, "\(row)")
      }
      _ = try await writing.value
      try await daemon.caughtUp()
      #expect(try await database.recount() == ["trip": 0, "day": 0, "account": 0])
      let halted = daemon.observed.all.filter {
        switch $0.kind {
        case .shardRetrying, .shardPaused, .shardStopped, .shardHalted, .rebuildFailed: true
        default: false
        }
      }
      #expect(halted.isEmpty, "the live shards noticed it: \(halted)")
    }
  }
}
