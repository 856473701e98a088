import Daemon
import Foundation
import Postgres
import Rules
import Sandbox
import Settings
import Telemetry
import TestSupport
import Testing

private func copy(_ name: String) -> String {
  """
  [projections.\(name)]
  tables = ["\(name.lowercased())"]
  setup = "CREATE TABLE \(name.lowercased()) (seq bigint)"
  sql = "INSERT INTO \(name.lowercased()) SELECT seq_id FROM batch"

  """
}

@Suite(.gated) struct `When the ground moves under the daemon` {
  /// Locks are looked for by identifiers, and a sequence made anew has another.
  @Test func `a sequence made anew holds the mark as the old one did`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(copy("Copy"))
    try await withDaemon(settings) { daemon in
      try await database.append(type: "x", count: 5)
      try await daemon.caughtUp()
      try await database.script(
        """
        BEGIN; ALTER SEQUENCE mt_events_sequence OWNED BY NONE; DROP SEQUENCE mt_events_sequence;
        CREATE SEQUENCE mt_events_sequence; SELECT setval('mt_events_sequence', 5); COMMIT
        """)
      let slow = try await Session.connect(database.options)
      try await slow.script(
        #"BEGIN; SELECT tidemark.append(gen_random_uuid(), '[{"type": "slow", "data": {}}]')"#)
      try await database.append(type: "x", count: 3)
      _ = try await daemon.observed.first("the change is noticed") { $0.fact == .storeChanged ? true : nil }
      try await daemon.ticked(times: 5)
      #expect(try await database.position("Copy:All") == 5, "number 6 is still in flight")
      try await slow.script("COMMIT")
      await slow.close()
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT count(DISTINCT seq) FROM copy", as: Int.self) == 9)
    }
  }

  /// A restore of the database, as the daemon sees it: sessions end, and after that everything is older.
  @Test func `shards read their positions again after the sessions were gone`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(copy("Copy"))
    try await withDaemon(settings) { daemon in
      try await database.append(type: "x", count: 5)
      try await daemon.caughtUp()
      try await database.script(
        """
        BEGIN;
        DELETE FROM copy; DELETE FROM mt_events; DELETE FROM mt_event_progression; DELETE FROM tidemark.high_water;
        DELETE FROM tidemark.position;
        SELECT setval('mt_events_sequence', 1, false);
        COMMIT;
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'tidemark' AND pid <> pg_backend_pid()
           AND query NOT LIKE '%pg_terminate_backend%'
        """)
      try await database.append(type: "x", count: 4)
      try await eventually("the four are applied") {
        try await database.value("SELECT count(*) FROM copy", as: Int.self) == 4
      }
      #expect(try await database.position("Copy:All") == 4)
    }
  }

  @Test func `a table of ours that another session locks does not hold up the mark`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(copy("Copy"))
    try await withDaemon(settings) { daemon in
      try await database.append(type: "x", count: 5)
      try await daemon.caughtUp()
      try await eventually("Marten's row is there") { try await database.position("HighWaterMark") != nil }
      let other = try await Session.connect(database.options)
      try await other.script(
        "BEGIN; UPDATE mt_event_progression SET last_updated = now() WHERE name = 'HighWaterMark'")
      try await database.append(type: "x", count: 5)
      try await daemon.caughtUp()
      try await database.connected { session in
        try await eventually("writing it down waits for the row, and will fail") {
          try await session.execute(
            """
            SELECT EXISTS (SELECT FROM pg_stat_activity
                            WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%HighWaterMark%')
            """
          ).rows[0].get(0, as: Bool.self)
        }
      }
      try await database.append(type: "x", count: 5)
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT count(*) FROM copy", as: Int.self) == 15)
      await other.close()
      try await eventually("it is written down afterwards") { try await database.position("HighWaterMark") == 15 }
    }
  }

  @Test func `a table of ours that was dropped is made again, and no database is said to be away`()
    async throws
  {
    let database = try await TestDatabase.make()
    let settings = try await database.install(copy("Copy"))
    try await withDaemon(settings) { daemon in
      try await database.append(type: "x", count: 5)
      try await daemon.caughtUp()
      try await database.script("DROP TABLE tidemark.high_water")
      try await database.append(type: "x", count: 5)
      _ = try await daemon.observed.first("it says so") { $0.fact == .storeChanged ? true : nil }
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT count(*) FROM copy", as: Int.self) == 10)
      #expect(!daemon.observed.all.contains { $0.fact == .databaseUnreachable })
    }
  }

  @Test func `a position that is NULL counts as none`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(copy("Copy"))
    try await database.script("INSERT INTO mt_event_progression VALUES ('Copy:All', NULL)")
    try await database.append(type: "x", count: 3)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT count(*) FROM copy", as: Int.self) == 3)
    }
  }

  /// The gap was passed, the daemon stopped, and the event came up long after the window, with nobody there to see it.
  @Test func `an event that came while no daemon ran is a dead letter of those that had passed it`() async throws {
    let database = try await TestDatabase.make()
    let rich = "append = \"rich\"\ngap_grace = \"200ms\"\nlate_arrival_window = \"1s\""
    let settings = try await database.install(copy("Copy") + copy("Other"), eventStore: rich)
    let first = try database.settings(copy("Copy"), eventStore: rich)
    try await withDaemon(first) { daemon in
      try await database.append(type: "x", count: 3)
      try await database.script("SELECT nextval('mt_events_sequence')")
      try await database.append(type: "x", count: 3)
      try await daemon.caughtUp()
    }
    try await database.script("UPDATE tidemark.gap SET passed_at = now() - interval '2 hours'")
    try await database.insert(sequence: 4)
    try await withDaemon(settings) { daemon in
      _ = try await daemon.observed.first("the late arrival is told") {
        $0.when(.lateArrival)
      }
      try await daemon.caughtUp()
      // Each shard has the event, or a letter for it, and not both.
      for (table, shard) in [("copy", "Copy:All"), ("other", "Other:All")] {
        let times = try await database.value(
          """
          SELECT (SELECT count(*) FROM \(identifier: table) WHERE seq = 4)
               + (SELECT count(*) FROM tidemark.dead_letter WHERE shard = \(shard) AND seq_id = 4)
          """, as: Int.self)
        #expect(times == 1, "\(shard)")
      }
    }
  }

  @Test func `a shard that is not declared just now gets its letter too`() async throws {
    let database = try await TestDatabase.make()
    let rich = "append = \"rich\"\ngap_grace = \"200ms\""
    let both = try await database.install(copy("Copy") + copy("Away"), eventStore: rich)
    try await withDaemon(both) { daemon in
      try await database.append(type: "x", count: 3)
      try await database.script("SELECT nextval('mt_events_sequence')")
      try await database.append(type: "x", count: 3)
      try await daemon.caughtUp()
      try await eventually("both are on record") {
        try await database.value("SELECT count(*) FROM tidemark.shard", as: Int.self) == 2
      }
    }
    let one = try database.settings(copy("Copy"), eventStore: rich)
    try await database.insert(sequence: 4)
    try await withDaemon(one) { daemon in
      _ = try await daemon.observed.first("the late arrival is told") {
        $0.when(.lateArrival)
      }
      let letters = try await database.value(
        "SELECT string_agg(shard, ' ' ORDER BY shard) FROM tidemark.dead_letter", as: String.self)
      #expect(letters == "Away:All Copy:All")
    }
  }
}

@Suite(.gated) struct `One projection beside another` {
  @Test func `does not see what the other left in the session they share`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      copy("Copy") + """
        [projections.Shadow]
        sql = "CREATE TEMP TABLE IF NOT EXISTS copy AS SELECT seq_id AS seq FROM batch"
        [projections.Path]
        sql = "SELECT set_config('search_path', 'pg_catalog', false)"
        [projections.Lock]
        sql = "SELECT pg_advisory_lock(1)"
        """, database: "pool_size = 1")
    try await withDaemon(settings) { daemon in
      for _ in 0..<5 {
        try await database.append(type: "x", count: 3)
        try await daemon.caughtUp()
      }
      #expect(try await database.value("SELECT count(*) FROM public.copy", as: Int.self) == 15)
    }
  }

  @Test func `that waits for a lock is said to wait`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(copy("Copy") + copy("Stuck"))
    try await database.follow(settings)
    let blocker = try await Session.connect(database.options)
    try await blocker.script("BEGIN; LOCK TABLE stuck")
    try await database.append(type: "x", count: 3)
    try await withDaemon(settings) { daemon in
      let told = try await daemon.observed.first("the slow page is told") { $0.when(.pageSlow)?.shard }
      #expect(told.projection == "Stuck")
      try await eventually("status shows it") {
        try await database.value(
          "SELECT count(*) FROM tidemark.shard WHERE name = 'Stuck:All' AND condition = 'slow'", as: Int.self)
          == 1
      }
      #expect(try await database.value("SELECT count(*) FROM copy", as: Int.self) == 3)
      await blocker.close()
      try await daemon.caughtUp()
    }
  }
}
