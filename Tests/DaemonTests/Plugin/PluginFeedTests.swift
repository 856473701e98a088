@testable import Daemon
import Foundation
import Postgres
import Sandbox
import Settings
import TestSupport
import Testing

@Suite(.gated) struct `A page for many plugins` {
  /// How many rows of the event table the server has fetched so far, once nobody is left: a session tells its numbers at its end at the
  /// latest, before it is gone.
  private func fetchedWhenIdle(_ database: TestDatabase) async throws -> Int {
    try await database.connected { session in
      try await eventually("all other sessions are gone") {
        try await session.execute(
          """
          SELECT count(*) FROM pg_stat_activity
           WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
          """
        ).rows[0].get(0, as: Int.self) == 0
      }
      return try await session.execute(
        "SELECT coalesce(sum(idx_tup_fetch + seq_tup_read), 0)::bigint FROM pg_stat_user_tables WHERE relname = 'mt_events'"
      ).rows[0].get(0, as: Int.self)
    }
  }

  @Test func `at the same place is read once, whatever types each takes`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    // All begin together: each holds its first page until everybody has one.
    let plugin = try programs.python(
      """
      def answer(page, events):
          note("begun", hello["shard"])
          while not os.path.exists(directory + "/go"): time.sleep(0.01)
          note(hello["shard"], page["count"])
          return applied(page)
      """)
    let ten = (1...10).map { number in
      "[projections.P\(number)]\nexec = [\"\(plugin)\"]\n" + (number % 2 == 0 ? "events = [\"even\"]\n" : "")
    }
    let settings = try await database.install(ten.joined(separator: "\n"))
    let count = 20_000
    try await database.script(
      """
      INSERT INTO mt_streams (id, version) VALUES (gen_random_uuid(), 0);
      INSERT INTO mt_events (seq_id, id, stream_id, version, data, type)
      SELECT nextval('mt_events_sequence'), gen_random_uuid(), (SELECT id FROM mt_streams LIMIT 1), i, '{}',
             CASE WHEN i % 2 = 0 THEN 'even' ELSE 'odd' END
        FROM generate_series(1, \(count)) AS i
      """)
    try await database.script("VACUUM ANALYZE mt_events")
    let before = try await fetchedWhenIdle(database)
    let began = ContinuousClock.now
    try await withDaemon(settings) { daemon in
      try await eventually("all have begun") { Set(programs.lines("begun")).count == 10 }
      _ = try programs.program("", name: "go")
      try await daemon.caughtUp()
    }
    // In two pages, for each of which the table may be scanned once, and once more by the agent that looks for the mark; ten readers of their own
    // do so twenty times. The watch of passed numbers scans it every five seconds.
    let looks = Int((ContinuousClock.now - began) / LateArrivalAgent.cadence) + 1
    let rows = try await fetchedWhenIdle(database) - before
    #expect(rows >= count && rows <= (4 + looks) * count, "\(rows), of them \(looks) looks")
    for number in 1...10 {
      let seen = programs.lines("P\(number):All").reduce(0) { $0 + Int($1)! }
      #expect(seen == (number % 2 == 0 ? count / 2 : count), "P\(number)")
    }
  }

  @Test func `is not believed after the server has crashed`() async throws {
    let cluster = try await PrivateCluster.start()
    let (database, programs) = (try await TestDatabase.make(on: cluster), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          note("begun", page["ceiling"])
          while not os.path.exists(directory + "/go"): time.sleep(0.01)
          for event in events: note("seen", event["seq_id"])
          return applied(page)
      """)
    let settings = try await database.installPlugin([plugin])
    try await database.append(type: "x", count: 10)
    try await withDaemon(settings) { daemon in
      try await eventually("it is at work") { programs.lines("begun").count == 1 }
      try await cluster.restart(.immediate)
      _ = try programs.program("", name: "go")
      // A page that meets the crash itself may use up its tries, and then comes again after a pause.
      try await eventually(within: .seconds(120), "the position follows") {
        (try? await database.position("Plug:All")) ?? 0 >= 10
      }
      // At least once: the page came again, since nobody knows what the crash has undone.
      #expect(Set(programs.lines("seen")) == Set((1...10).map(String.init)))
      #expect(programs.lines("begun").count >= 2)
    }
    await cluster.remove()
  }

  @Test func `that has changed while the plugin worked is handed over again`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          note("begun", page["ceiling"])
          while page["ceiling"] >= 5 and not os.path.exists(directory + "/go"): time.sleep(0.01)
          for event in events: note("seen", event["seq_id"])
          return applied(page)
      """)
    let settings = try await database.installPlugin(
      [plugin], eventStore: "append = \"rich\"\ngap_grace = \"100ms\"\nlate_arrival_window = \"1h\"")
    try await withDaemon(settings) { daemon in
      // Number 3 is reserved and not inserted: a gap that the mark steps over.
      try await database.append(type: "x", count: 2)
      try await database.script("SELECT nextval('mt_events_sequence')")
      try await database.append(type: "x", count: 2)
      try await eventually("it is at work on all of it") { programs.lines("begun").last == "5" }
      try await database.script(
        """
        INSERT INTO mt_events (seq_id, id, stream_id, version, data, type)
        SELECT 3, gen_random_uuid(), stream_id, 99, '{}', 'x' FROM mt_events WHERE seq_id = 1
        """)
      try await eventually("the late one is accounted for") {
        try await database.value("SELECT count(*) FROM tidemark.gap WHERE 3 = ANY (arrived)", as: Int.self) == 1
      }
      _ = try programs.program("", name: "go")
      try await daemon.caughtUp()
    }
    let letters = try await database.value("SELECT count(*) FROM tidemark.dead_letter WHERE seq_id = 3", as: Int.self)
    // Never both and never neither.
    #expect(programs.lines("seen").contains("3") == (letters == 0))
    #expect(Set(programs.lines("seen")).union(letters > 0 ? ["3"] : []) == ["1", "2", "3", "4", "5"])
  }
}
