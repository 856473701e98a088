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
import TestSupport
import Testing

@Suite(.gated) struct `A rebuild` {
  @Test(arguments: ["Trip", "Day", "Ledger"], [RequestedWay.swap, .copy])
  func `gives the same rows as before when nothing has changed, twice in a row`(name: String, way: RequestedWay)
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

  @Test(arguments: [RequestedWay.swap, .copy])
  func `takes stale rows away, brings missing ones back, and leaves other projections alone`(way: RequestedWay)
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

  @Test(arguments: [RequestedWay.swap, .copy])
  func `goes on beside writers and the live shard, and loses and repeats nothing`(way: RequestedWay) async throws {
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
        switch $0.fact {
        case .shardRetrying, .shardPaused, .shardStopped, .shardHalted, .rebuildFailed: true
        default: false
        }
      }
      #expect(halted.isEmpty, "the live shards noticed it: \(halted)")
    }
  }
}
