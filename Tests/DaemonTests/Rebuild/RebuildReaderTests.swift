import Books
import Daemon
import Foundation
import Postgres
import Rules
import Sandbox
import Settings
import Synchronization
import Telemetry
import TestSupport
import Testing

private final class Flag: Sendable {
  private let state = Mutex(false)
  var isSet: Bool {
    get { state.withLock { $0 } }
    set { state.withLock { $0 = newValue } }
  }
}

@Suite(.gated) struct `Readers of a read model that is rebuilt` {
  /// Counts rows as fast as it can until told to end; returns the fewest it ever saw, and how often it looked.
  private static func poll(
    _ database: TestDatabase, _ query: String, until isOver: @escaping @Sendable () -> Bool
  ) async throws -> (fewest: Int, looks: Int) {
    try await database.connected { session in
      var (fewest, looks) = (Int.max, 0)
      while !isOver() {
        // Prepared once and by name each time in turn: a plan that was kept must not lead to the old table.
        let rows =
          looks.isMultiple(of: 2)
          ? try await session.prepared(SQL(text: query)) : try await session.execute(SQL(text: query))
        fewest = min(fewest, try rows.rows[0].get(0, as: Int.self))
        looks += 1
      }
      return (fewest, looks)
    }
  }

  @Test(arguments: [RequestedWay.swap, .copy])
  func `never see fewer rows than before`(way: RequestedWay) async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(SampleProjections.toml)
    _ = try await database.write(writers: 3, transactions: 80)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      let before = try await database.value("SELECT count(*) FROM trip", as: Int.self)
      #expect(before > 10)
      let isOver = Flag()
      let counting = Task { try await Self.poll(database, "SELECT count(*) FROM trip") { isOver.isSet } }
      let joining = Task {
        try await Self.poll(database, "SELECT count(*) FROM trip AS a JOIN trip AS b USING (id)") { isOver.isSet }
      }
      let writing = Task { try await database.write(writers: 2, transactions: 100, seed: 7) }
      for _ in 0..<5 {
        var request = RebuildTable.Request()
        request.way = way
        #expect(try await database.rebuild(settings, "Trip", request, byNode: true).state == .done)
      }
      _ = try await writing.value
      isOver.isSet = true
      let (first, second) = try await (counting.value, joining.value)
      #expect(first.fewest >= before && second.fewest >= before, "\(first) \(second) \(before)")
      #expect(first.looks > 50)
      try await daemon.caughtUp()
      #expect(try await database.recount() == ["trip": 0, "day": 0, "account": 0])
    }
  }

  /// A table that is swapped in after a snapshot was taken would look empty to it.
  @Test func `with a snapshot from before never see an empty table`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(SampleProjections.toml)
    _ = try await database.write(writers: 2, transactions: 40)
    try await database.follow(settings)
    let before = try await database.value("SELECT count(*) FROM trip", as: Int.self)
    let observed = ObservationRecorder()
    let reader = try await Session.connect(database.options, threadName: "reader")
    try await reader.script("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM day")
    var request = RebuildTable.Request()
    request.way = .swap
    let running = Task { [request] in try await database.rebuild(settings, "Trip", request, observer: observed) }
    let reason = try await observed.first("the exchange being put off") {
      $0.when(.rebuildHindered)?[.reason]
    }
    #expect(reason.contains("snapshot"))
    let seen = try await reader.execute("SELECT count(*) FROM trip").rows[0].get(0, as: Int.self)
    #expect(seen == before)
    // Now it holds the table as well; a copy would not mind.
    try await reader.script("COMMIT")
    #expect(try await running.value.state == .done)
    await reader.close()
    #expect(try await database.recount()["trip"] == 0)
  }

  @Test func `that hold the table are gone around by a copy in the end`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(SampleProjections.toml)
    _ = try await database.write(writers: 2, transactions: 40)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      let reader = try await Session.connect(database.options, threadName: "reader")
      try await reader.script("BEGIN; SELECT count(*) FROM trip")
      let running = Task { try await database.rebuild(settings, "Trip", byNode: true) }
      _ = try await daemon.observed.first("the exchange being put off") {
        if $0.fact == .rebuildHindered, let reason = $0[.reason], reason.contains("reader") { true } else { nil }
      }
      // The live shard goes on meanwhile.
      _ = try await database.write(writers: 1, transactions: 10, seed: 4)
      try await daemon.caughtUp()
      let row = try await running.value
      #expect(row.state == .done && row.chosenWay == .copy)
      #expect(row.wayReason == "readers blocked a swap 20 times")
      await reader.close()
      try await daemon.caughtUp()
      #expect(try await database.recount()["trip"] == 0)
    }
  }
}
