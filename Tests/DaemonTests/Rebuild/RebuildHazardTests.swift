import Operator
import Books
@testable import Daemon
import Foundation
import Postgres
import Rules
import Sandbox
import Settings
import Telemetry
import TestSupport
import Testing

/// What stands in the way of a rebuild, or of its live shard, at the one moment in which it does harm.
@Suite(.gated) struct `A rebuild at a bad moment` {
  /// Holds a row of the slow table, so that the live shard's page that counts an event of its stream waits in the middle.
  private func holdingUp<T>(_ database: TestDatabase, _ body: (Session) async throws -> T) async throws -> T {
    let holder = try await Session.connect(database.options, threadName: "holder")
    try await holder.script("BEGIN; SELECT FROM slow WHERE id = md5('7')::uuid FOR UPDATE")
    try await database.script(
      """
      INSERT INTO mt_events (seq_id, id, stream_id, version, data, type)
      SELECT n, gen_random_uuid(), md5('7')::uuid, n, '{}', 'travel' FROM nextval('mt_events_sequence') AS n
      """)
    try await eventually("a page of the live shard that waits for the row") {
      try await database.value(
        """
        SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
                          AND query LIKE '%INSERT INTO slow%')
        """)
    }
    return try await holder.closing(body)
  }

  /// A rebuild that ends elsewhere than where the shard is makes the shard stand still first. Ended while it waits for the shard's page,
  /// it has nobody else who would let the shard go on.
  @Test func `never leaves the live shard standing when it is ended while it waits for it`() async throws {
    let (database, settings) = try await SlowProjection.prepared(events: 500, pause: "0")
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      try await holdingUp(database) { holder in
        var request = RebuildTable.Request()
        request.upTo = 400
        try await database.connected { session in
          let rebuilds = RebuildRequests(by: "a test", byNode: true)
          _ = try await rebuilds.ask(request, for: settings.projections[0], restart: false, session)
        }
        let requests = daemon.daemon.requests
        let shard = settings.projections[0].shard
        try await eventually("the rebuild waits for the shard to stand still") {
          await requests.current(shard).halt?.source == .rebuild
        }
        let hasEnded = try await database.connected { session in
          try await RebuildRequests(by: "a test", byNode: false).abort("\(shard)", session)
        }
        #expect(hasEnded)
        try await eventually("the shard may go on") { await requests.current(shard).halt == nil }
        try await holder.script("COMMIT")
      }
      try await daemon.caughtUp()
      #expect(try await database.wrongLegs() == 0)
      #expect(try await database.rebuilt("Slow:All").state == .aborted)
      #expect(try await database.leftovers() == 0)
    }
  }

  /// A session that waits for the row of the position sees another one after the wait; a transaction with a fixed snapshot would end there.
  @Test(arguments: ["repeatable read", "serializable"])
  func `is right whatever isolation the role has by default`(level: String) async throws {
    let (database, _) = try await SlowProjection.prepared(events: 500, pause: "0")
    let role = "strict_\(UInt32.random(in: 0 ... .max))"
    try await database.script(
      """
      CREATE ROLE \(role) LOGIN SUPERUSER;
      ALTER ROLE \(role) SET default_transaction_isolation = '\(level)';
      UPDATE slow SET legs = legs + 1 WHERE id <> md5('7')::uuid
      """)
    var strict = try database.settings(SlowProjection.toml)
    strict.database.url = strict.database.url.replacing("user=postgres", with: "user=\(role)")
    let settings = strict
    // The node that led the shard before is in the middle of its last page.
    let former = try await Session.connect(database.options, threadName: "former")
    try await former.script(
      "BEGIN; UPDATE mt_event_progression SET last_updated = now() WHERE name = 'Slow:All'")
    try await withDaemon(settings) { daemon in
      try await eventually("the shard waits for the row of its position") {
        try await database.value(
          """
          SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
                            AND query LIKE '%mt_event_progression%FOR UPDATE%')
          """)
      }
      try await former.script("COMMIT")
      try await daemon.caughtUp()
      for way in [RequestedWay.swap, .copy] {
        let rebuilding = try await holdingUp(database) { holder in
          var request = RebuildTable.Request()
          request.way = way
          let rebuilding = Task { [request] in
            try await database.rebuild(settings, "Slow", request, byNode: true)
          }
          try await eventually("the exchange waits for the live shard's page") {
            try await database.value(
              """
              SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
                                AND query LIKE '%mt_event_progression%FOR UPDATE%')
              """)
          }
          try await holder.script("COMMIT")
          return rebuilding
        }
        let row = try await rebuilding.value
        #expect(row.state == .done, "\(row)")
        try await daemon.caughtUp()
        #expect(try await database.wrongLegs() == 0)
      }
      // Everything else that the daemon does, with others at the same rows.
      let writing = Task { try await database.append(type: "travel", count: 200) }
      for name in ["pause", "resume", "pause", "resume"] {
        let config = try Program.settings(
          settings.database.url, SlowProjection.toml)
        let said = try await Program.run([name, "Slow", "-c", config])
        #expect(said.code == 0, "\(said)")
      }
      try await writing.value
      try await daemon.caughtUp()
      #expect(try await database.wrongLegs() == 0)
      let troubled = daemon.observed.all.filter {
        [.shardPaused, .shardRetrying, .shardStopped, .rebuildFailed, .markFailed].contains($0.fact)
      }
      #expect(troubled.isEmpty, "\(troubled)")
    }
    await former.close()
    try await database.script("DROP OWNED BY \(role); DROP ROLE \(role)")
  }

  @Test func `puts its exchange off when a lock is not to be had, and does it when it is`() async throws {
    let (database, settings) = try await SlowProjection.prepared(events: 500, pause: "0")
    try await database.script("UPDATE slow SET legs = legs + 1")
    let writer = try await Session.connect(database.options, threadName: "writer")
    let observed = ObservationRecorder()
    for (held, way) in [
      ("LOCK TABLE slow IN ROW EXCLUSIVE MODE", RequestedWay.copy),
      ("SELECT FROM mt_event_progression WHERE name = 'Slow:All' FOR UPDATE", .swap),
    ] {
      // A page of the live shard may take its time, so only the server's own limit bounds the wait for it.
      if way == .swap { try await database.script("ALTER DATABASE \(database.name) SET lock_timeout = '100ms'") }
      try await writer.script("BEGIN; \(held)")
      let before = observed.hindrances.count
      var request = RebuildTable.Request()
      request.way = way
      let running = Task { [request] in try await database.rebuild(settings, "Slow", request, observer: observed) }
      try await eventually("the exchange put off twice") { observed.hindrances.count >= before + 2 }
      #expect(observed.hindrances.last?.contains("lock timeout") == true, "\(observed.hindrances)")
      try await writer.script("COMMIT")
      let row = try await running.value
      #expect(row.state == .done && row.chosenWay == way, "\(row)")
      #expect(try await database.wrongLegs() == 0)
      try await database.script("UPDATE slow SET legs = legs + 1")
    }
    await writer.close()
  }

  /// A worker that ends a page early gives back what it parked after it; what another worker parked there is that one's.
  @Test func `keeps the letters that another worker has parked`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install(SlowProjection.toml)
    for _ in 0..<20 { try await database.append(type: "travel", count: 2) }
    try await database.script(
      """
      INSERT INTO tidemark.rebuild (shard, by_node, asked_by, way, workers, fingerprint) VALUES ('Slow:All', true, 'a test', 'auto', 2, '');
      INSERT INTO tidemark.rebuild_worker (rebuild, worker, position) SELECT id, w, 40 FROM tidemark.rebuild, generate_series(0, 1) AS w;
      INSERT INTO tidemark.dead_letter (shard, seq_id, stream_id, type, class, message)
      SELECT 'Slow:All (rebuild)', seq_id, stream_id::text, type, 'parked', 'its stream is parked' FROM mt_events;
      """)
    let id = try await database.value("SELECT id FROM tidemark.rebuild", as: Int64.self)
    let book = PageTarget.rebuild(id: id, worker: 1, shard: "Slow:All", schema: "nowhere", originals: [])
    // The streams of worker 1, as the view tells them apart.
    let own = try await database.connected { session in
      try await session.transaction { session in
        try await session.script(
          "SET LOCAL tidemark.floor = 0; SET LOCAL tidemark.ceiling = 40; SET LOCAL tidemark.slices = 2; SET LOCAL tidemark.slice = 1"
        )
        return try await session.execute("SELECT seq_id FROM tidemark.batch WHERE seq_id > 10").rows.map {
          try $0.get(0, as: Int64.self)
        }
      }
    }
    #expect(!own.isEmpty && own.count < 30, "a fair share: \(own)")
    try await database.connected { session in
      _ = try await session.transaction { try await $0.execute(book.cut(ceiling: 10)) }
    }
    let gone = try await database.connected { session in
      try await session.execute(
        "SELECT e.seq_id FROM mt_events AS e WHERE NOT EXISTS (SELECT FROM tidemark.dead_letter AS d WHERE d.seq_id = e.seq_id) ORDER BY 1"
      ).rows.map { try $0.get(0, as: Int64.self) }
    }
    #expect(gone == own.sorted())
    #expect(
      try await database.value("SELECT position FROM tidemark.rebuild_worker WHERE worker = 0", as: Int64.self) == 40)
    #expect(
      try await database.value("SELECT position FROM tidemark.rebuild_worker WHERE worker = 1", as: Int64.self) == 10)
  }
}

extension ObservationRecorder {
  /// Why exchanges were put off.
  fileprivate var hindrances: [String] {
    all.compactMap { $0.when(.rebuildHindered)?[.reason] }
  }
}
