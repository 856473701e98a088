import Books
import EventStore
import Postgres
import TestSupport
import Testing

/// Where numbers are reserved in one transaction and inserted in another, each node passes gaps by its own clock, and may look at the
/// same moment as another.
@Suite(.gated) struct `An event that arrives late` {
  private func store() async throws -> (TestDatabase, MarkTable) {
    let database = try await TestDatabase.make()
    _ = try await database.install(Fleet.counters(1...1), eventStore: "append = \"rich\"")
    let shape = try await database.connected { try await StoreShape.read($0, schema: "public") }
    try await database.script(
      "SELECT setval('mt_events_sequence', 10); INSERT INTO mt_event_progression VALUES ('P1:All', 0)")
    return (database, MarkTable(shape))
  }

  private func gaps(_ database: TestDatabase) async throws -> String? {
    try await database.value(
      "SELECT string_agg(first_seq_id || '-' || last_seq_id, ' ' ORDER BY first_seq_id) FROM tidemark.gap")
  }

  @Test func `is in no gap when it came before the gap was recorded`() async throws {
    let (database, table) = try await store()
    try await database.insert(sequence: 6)
    try await database.connected { session async throws in
      // What a node saw a moment ago: 5 to 8 are missing.
      #expect(try await table.record([5...8], reason: "grace", heldBy: nil, session) == [5...5, 7...8])
    }
  }

  /// Marten's tools take what stands there for numbers that no event has.
  @Test func `is not among what Marten is told was skipped`() async throws {
    let (database, _) = try await store()
    try await database.script(
      "CREATE TABLE mt_high_water_skips (starting_sequence bigint PRIMARY KEY, ending_sequence bigint NOT NULL)")
    try await database.insert(sequence: 6)
    try await database.connected { session in
      let table = MarkTable(try await StoreShape.read(session, schema: "public"))
      #expect(try await table.record([5...8], reason: "long hold", heldBy: "somebody", session) == [5...5, 7...8])
    }
    #expect(
      try await database.value(
        "SELECT string_agg(starting_sequence || '-' || ending_sequence, ' ' ORDER BY 1) FROM mt_high_water_skips")
        == "5-5 7-8")
    #expect(try await database.value("SELECT string_agg(held_by, ', ') FROM tidemark.gap") == "somebody, somebody")
  }

  @Test func `is in one gap, whichever node records it`() async throws {
    let (database, table) = try await store()
    try await database.connected { session async throws in
      #expect(try await table.record([6...8], reason: "grace", heldBy: nil, session) == [6...8])
      #expect(try await table.record([9...10], reason: "grace", heldBy: nil, session) == [9...10])
      #expect(
        try await table.record([4...10], reason: "grace", heldBy: nil, session) == [4...5], "by another node, later")
      #expect(try await table.record([7...7], reason: "grace", heldBy: nil, session) == [])
    }
    #expect(try await gaps(database) == "4-5 6-8 9-10")
  }

  /// Between the last look of the node that records a gap and its commit the event comes up, and another node has seen it.
  @Test func `is not read by a page that begins while its gap is being recorded`() async throws {
    let (database, _) = try await store()
    let recorder = try await Session.connect(database.options)
    _ = try await recorder.script(
      """
      BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('tidemark.gap', 0));
      INSERT INTO tidemark.gap (first_seq_id, last_seq_id, reason) VALUES (6, 6, 'grace')
      """)
    try await database.insert(sequence: 6)
    let page = Task { () async throws -> Int in
      try await database.connected { session in
        try await session.transaction { session in
          try await session.execute("SELECT tidemark_internal.begin_page('P1:All', 0, 10, NULL, false)")
          return try await session.execute("SELECT count(*) FROM tidemark.batch").rows[0].get(0, as: Int.self)
        }
      }
    }
    try await eventually("the page waits") {
      try await database.value(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
      )
    }
    _ = try await recorder.script("COMMIT")
    let read = try await page.value
    #expect(read == 0, "it is in the gap, and will be a dead letter")
    await recorder.close()
  }

  @Test func `does not make the recorder wait for a page`() async throws {
    let (database, table) = try await store()
    let page = try await Session.connect(database.options)
    _ = try await page.script("BEGIN; SELECT tidemark_internal.begin_page('P1:All', 0, 4, NULL, false)")
    try await database.connected { session in
      _ = try await session.script("SET lock_timeout = '2s'")
      #expect(try await table.record([6...8], reason: "grace", heldBy: nil, session) == [6...8])
    }
    await page.close()
  }

  /// Both nodes saw it arrive; when the second gets its turn the shard has met the event in a page.
  @Test func `is accounted for once`() async throws {
    let (database, table) = try await store()
    try await database.connected { session in
      _ = try await table.record([6...6], reason: "grace", heldBy: nil, session)
      try await database.insert(sequence: 6)
      let takers = [MarkTable.Taker(shard: "P1:All", types: nil)]
      let seen = try await table.lateArrivals(within: nil, session)
      #expect(seen.map(\.sequence) == [6])
      #expect(try await table.keep(seen, takers: takers, node: "one", session).map(\.arrival) == seen)
      // The shard was before it, so it reads the event in its next page.
      _ = try await session.script("UPDATE mt_event_progression SET last_seq_id = 10 WHERE name = 'P1:All'")
      #expect(try await table.keep(seen, takers: takers, node: "two", session) == [])
      #expect(try await table.lateArrivals(within: nil, session) == [])
    }
    #expect(try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) == 0)
  }

  /// A shard that has only just got its position: its first page either waits until the event is accounted for, or is waited for.
  @Test func `is not missed by a shard that begins while it is accounted for`() async throws {
    let (database, table) = try await store()
    try await database.connected { session in
      _ = try await table.record([6...6], reason: "grace", heldBy: nil, session)
      try await database.insert(sequence: 6)
      let takers = ["P1:All", "P2:All"].map { MarkTable.Taker(shard: $0, types: nil) }
      let seen = try await table.lateArrivals(within: nil, session)
      // P1's row is held, so accounting waits there; P2 begins meanwhile and passes the gap.
      let page = try await Session.connect(database.options)
      _ = try await page.script("BEGIN; SELECT FROM mt_event_progression WHERE name = 'P1:All' FOR UPDATE")
      let keeping = Task { try await table.keep(seen, takers: takers, node: "one", session) }
      try await eventually("it waits") {
        try await database.value(
          "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())"
        )
      }
      try await database.script(
        "INSERT INTO mt_event_progression VALUES ('P2:All', 0); BEGIN; SELECT tidemark_internal.begin_page('P2:All', 0, 10, NULL, false); COMMIT"
      )
      _ = try await page.script("COMMIT")
      await page.close()
      let kept = try await keeping.value
      #expect(kept.map(\.arrival) == seen && kept.map(\.shards) == [["P2:All"]])
    }
    #expect(try await database.value("SELECT string_agg(shard, ' ') FROM tidemark.dead_letter") == "P2:All")
  }
}
