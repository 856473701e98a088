import Books
import EventStore
import Postgres
import Rules
import Sandbox
import TestSupport
import Testing

/// The proof says that a number without an event is dead, if numbers come from the sequence. Here a writer names its own.
@Suite(.gated) struct `An event whose number nobody drew` {
  /// A store whose sequence is at 10, with no event, and a shard that has passed all.
  private func store() async throws -> (TestDatabase, StoreShape) {
    let database = try await TestDatabase.make()
    _ = try await database.install(Fleet.counters(1...2))
    let shape = try await database.connected { try await StoreShape.read($0, schema: "public") }
    try await database.script(
      "SELECT setval('mt_events_sequence', 10); INSERT INTO mt_event_progression VALUES ('P1:All', 10), ('P2:All', 3)")
    return (database, shape)
  }

  private func letters(_ database: TestDatabase) async throws -> String? {
    try await database.value(
      "SELECT string_agg(shard || ' ' || seq_id || ' ' || class, ', ' ORDER BY shard, seq_id) FROM tidemark.dead_letter",
      as: String?.self)
  }

  @Test func `is a dead letter of the shards that were past it, once, and a page of the others reads it`() async throws
  {
    let (database, shape) = try await store()
    let takers = ["P1:All", "P2:All"].map { MarkTable.Taker(shard: $0, types: nil) }
    try await database.connected { session in
      let before = try #require(try await PassedNumbers.look(below: 10, shape, session))
      #expect(before.gaps == [1...10] && before.numbers == 1...10)
      try await database.insert(sequence: 2)
      try await database.insert(sequence: 6)
      let now = try #require(try await PassedNumbers.look(below: 10, shape, session))
      let found = now.undrawn(since: before)
      let kept = try #require(try await UndrawnEvents(shape).keep(found, takers: takers, node: "one", session))
      #expect(kept.sequences == [2, 6] && kept.shards == ["P1:All", "P2:All"] && kept.undecided == [])
      // Another node has seen the same.
      #expect(try await UndrawnEvents(shape).keep(found, takers: takers, node: "two", session) == nil)
      #expect(try await MarkTable(shape).lateArrivals(within: nil, session) == [])
      let read = try await session.transaction { session in
        try await session.execute("SELECT tidemark_internal.begin_page('P2:All', 3, 10, NULL, false)")
        return try await session.execute("SELECT seq_id FROM tidemark.batch").rows.map { try $0.get(0, as: Int64.self) }
      }
      #expect(read == [6])
    }
    #expect(try await letters(database) == "P1:All 2 late_arrival, P1:All 6 late_arrival, P2:All 2 late_arrival")
  }

  @Test func `is left to the watch of skipped gaps where its number is in one`() async throws {
    let (database, shape) = try await store()
    try await database.connected { session in
      let table = MarkTable(shape)
      _ = try await table.record([5...8], reason: "long hold", heldBy: nil, session)
      let before = try #require(try await PassedNumbers.look(below: 10, shape, session))
      try await database.insert(sequence: 6)
      let found = try #require(try await PassedNumbers.look(below: 10, shape, session)).undrawn(since: before)
      #expect(found.map(\.numbers) == [6...6])
      let takers = [MarkTable.Taker(shard: "P1:All", types: nil)]
      #expect(try await UndrawnEvents(shape).keep(found, takers: takers, node: "one", session) == nil)
      #expect(try await table.lateArrivals(within: nil, session).map(\.sequence) == [6])
    }
  }

  @Test func `of a type that a shard does not take is no letter of it`() async throws {
    let (database, shape) = try await store()
    try await database.connected { session in
      let before = try #require(try await PassedNumbers.look(below: 10, shape, session))
      try await database.insert(sequence: 2)
      let found = try #require(try await PassedNumbers.look(below: 10, shape, session)).undrawn(since: before)
      let takers = [MarkTable.Taker(shard: "P1:All", types: ["other"]), MarkTable.Taker(shard: "P2:All", types: ["x"])]
      let kept = try await UndrawnEvents(shape).keep(found, takers: takers, node: "one", session)
      #expect(kept?.shards == ["P2:All"])
    }
  }

  /// A daemon that follows by proof alone, and a writer that brings rows below the mark by hand.
  @Test func `is noticed by a running daemon, within two looks`() async throws {
    try await Fleet.with(counters: 1) { fleet in
      let database = fleet.database
      try await database.script("SELECT setval('mt_events_sequence', 1000)")
      let node = try await DaemonProcess.start(try fleet.config())
      try await database.append(type: "x", count: 1)
      let caught = try await Program.run(["wait", "--timeout", "60s", "-c", try fleet.config()])
      #expect(caught.code == 0, "\(caught)")
      // Those that come before the first look show nothing.
      var next: Int64 = 1
      while try await letters(database) == nil, next < 300 {
        try await database.insert(sequence: next)
        next += 1
        try await Task.sleep(for: .milliseconds(200))
      }
      let letter = try #require(try await letters(database))
      #expect(letter.hasPrefix("P1:All ") && letter.contains("late_arrival"), "\(letter)")
      let log = try await node.stop()
      #expect(log.error.contains("Events have numbers that no transaction had drawn"), "\(log)")
    }
  }
}
