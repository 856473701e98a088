import Daemon
import Postgres
import Rules
import Sandbox
import Settings
import Telemetry
import TestSupport
import Testing

@Suite(.gated) struct `Following an event store` {
  @Test func `keeps read models of both forms equal to a recount, past rollbacks and slow commits`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(SampleProjections.toml)
    try await withDaemon(settings) { daemon in
      let committed = try await database.write(writers: 4, transactions: 150)
      try await daemon.caughtUp()
      #expect(committed > 500)
      #expect(try await database.value("SELECT count(*) FROM mt_events", as: Int.self) == committed)
      #expect(try await database.recount() == ["trip": 0, "day": 0, "account": 0])
    }
  }

  @Test func `goes on after a restart from where it was`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(SampleProjections.toml)
    for round in 0..<3 {
      try await withDaemon(settings) { daemon in
        _ = try await database.write(writers: 2, transactions: 30, seed: UInt64(round * 10))
        if round == 2 { try await daemon.caughtUp() }
      }
    }
    #expect(try await database.recount() == ["trip": 0, "day": 0, "account": 0])
  }

  @Test func `applies each event once though its sessions are terminated again and again`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(SampleProjections.toml)
    try await withDaemon(settings) { daemon in
      let killer = Task {
        while !Task.isCancelled {
          try await database.script(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tidemark' AND random() < 0.5"
          )
          try await Task.sleep(for: .milliseconds(60))
        }
      }
      _ = try await database.write(writers: 3, transactions: 200, applicationName: "writer")
      killer.cancel()
      try await daemon.caughtUp(within: .seconds(60))
      #expect(try await database.recount() == ["trip": 0, "day": 0, "account": 0])
    }
  }

  @Test func `two daemons on one store apply nothing twice`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(SampleProjections.toml)
    try await withDaemon(settings, node: "one") { first in
      try await withDaemon(settings, node: "two") { second in
        var seed: UInt64 = 0
        try await eventually(within: .seconds(90), "one of them notices the other") {
          _ = try await database.write(writers: 3, transactions: 30, seed: seed)
          seed += 10
          return (first.observed.all + second.observed.all).contains { observation in
            guard observation.fact == .shardPaused, let failure = observation.failure else { return false }
            return failure.code?.text == "TM301"
          }
        }
        try await first.caughtUp(within: .seconds(90))
        #expect(try await database.recount() == ["trip": 0, "day": 0, "account": 0])
      }
    }
  }

  @Test func `moves a shard on past events that it does not take`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      """
      [projections.Rare]
      events = ["rare"]
      tables = ["rare"]
      setup = "CREATE TABLE rare (seq bigint PRIMARY KEY)"
      sql = "INSERT INTO rare SELECT seq_id FROM batch"
      """)
    try await database.append(type: "common", count: 5_000)
    try await database.append(type: "rare", count: 1)
    try await database.append(type: "common", count: 3_000)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT array_agg(seq)::text FROM rare") == "{5001}")
      #expect(try await database.position("Rare:All") == 8_001)
    }
  }

  @Test func `runs several statements of a page in order, and sees its own writes`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      """
      [projections.Two]
      tables = ["one", "two"]
      setup = "CREATE TABLE one (seq bigint); CREATE TABLE two (n bigint)"
      sql = '''
      INSERT INTO one SELECT seq_id FROM batch;
      INSERT INTO two SELECT count(*) FROM one;
      '''
      """)
    try await database.append(type: "x", count: 10)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      #expect(try await database.value("SELECT max(n) FROM two", as: Int.self) == 10)
    }
  }

  @Test func `applies events one by one in order, nulls and large bodies included`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      """
      [projections.Log]
      tables = ["log"]
      setup = "CREATE TABLE log (n serial, seq bigint, stream uuid, version bigint, type text, size int, missing text, at timestamptz, tenant text)"
      [projections.Log.on]
      small = "INSERT INTO log (seq, stream, version, type, size, missing, at, tenant) VALUES (:seq_id, :stream_id, :version, :type, length(:data->>'x'), :data->>'null', :timestamp, :tenant_id)"
      large = "INSERT INTO log (seq, size) VALUES (:seq_id, length(:data->>'x'))"
      """)
    try await database.append(type: "small", count: 3, data: #"{"x": "abc", "null": null}"#)
    try await database.append(type: "ignored", count: 2)
    for _ in 0..<3 {
      try await database.script(
        "SELECT tidemark.append(gen_random_uuid(), jsonb_build_array(jsonb_build_object('type', 'large', 'data', jsonb_build_object('x', (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 200000) n)))))"
      )
    }
    try await database.append(type: "small", count: 2_500, data: #"{"x": ":data '"}"#)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp(within: .seconds(60))
      #expect(try await database.value("SELECT count(*) FROM log", as: Int.self) == 2_506)
      #expect(try await database.value("SELECT count(*) FROM log WHERE size = 6400000", as: Int.self) == 3)
      #expect(
        try await database.value(
          "SELECT count(*) FROM (SELECT seq, lag(seq) OVER (ORDER BY n) AS before FROM log) AS x WHERE before >= seq",
          as: Int.self) == 0)
      #expect(
        try await database.value(
          "SELECT count(*) FROM log l JOIN mt_events e ON l.seq = e.seq_id WHERE (l.stream, l.version, l.type, l.at, l.tenant) = (e.stream_id, e.version, e.type, e.timestamp, e.tenant_id)",
          as: Int.self) == 2_503)
      #expect(try await database.position("Log:All") == 2_508)
    }
  }

  @Test func `shares a few sessions among many shards`() async throws {
    let database = try await TestDatabase.make()
    let projections = (0..<40).map { n in
      """
      [projections.P\(n)]
      tables = ["p\(n)"]
      setup = "CREATE TABLE p\(n) (seq bigint PRIMARY KEY)"
      sql = "INSERT INTO p\(n) SELECT seq_id FROM batch"
      """
    }.joined(separator: "\n")
    let settings = try await database.install(projections, database: "pool_size = 2")
    try await database.append(type: "x", count: 300)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp(within: .seconds(60))
      // Two of the pool, one for the mark, one for the books, one for requests, one by which the node is known. The server may still be
      // closing a session of this test.
      try await eventually("no more than six sessions") {
        try await database.value(
          "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tidemark' AND pid <> pg_backend_pid()",
          as: Int.self) <= 6
      }
      for n in [0, 17, 39] {
        #expect(try await database.value("SELECT count(*) FROM \(raw: "p\(n)")", as: Int.self) == 300)
      }
    }
  }

  @Test func `lets a writer wait for its own events in SQL`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      "[projections.N]\ntables = [\"n\"]\nsetup = \"CREATE TABLE n (seq bigint)\"\nsql = \"INSERT INTO n SELECT seq_id FROM batch\""
    )
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      for round in 1...20 {
        try await database.append(type: "x", count: 1)
        let waited = try await database.value("SELECT tidemark.wait_for('N:All', '20 s')", as: Bool.self)
        #expect(waited, "round \(round): \(daemon.observed.all.suffix(8))")
        #expect(try await database.value("SELECT count(*) FROM n", as: Int.self) == round)
      }
    }
    try await database.append(type: "x", count: 1)
    #expect(try await database.value("SELECT tidemark.wait_for('N:All', '10 ms')", as: Bool.self) == false)
  }
}

@Suite(.gated) struct `Where a shard begins` {
  private func seen(_ start: String, _ prepare: (TestDatabase) async throws -> Void = { _ in }) async throws -> [Int] {
    let database = try await TestDatabase.make()
    let settings = try await database.install(
      "[projections.S]\nstart = \(start)\ntables = [\"s\"]\nsetup = \"CREATE TABLE s (seq bigint)\"\nsql = \"INSERT INTO s SELECT seq_id FROM batch\""
    )
    try await database.append(type: "x", count: 5)
    try await database.script("UPDATE mt_events SET timestamp = '2026-01-01'::timestamptz + seq_id * interval '1 day'")
    try await prepare(database)
    return try await withDaemon(settings) { daemon in
      _ = try await daemon.observed.first("the shard started") { $0.when(.shardStarted) }
      try await database.append(type: "x", count: 1)
      try await daemon.caughtUp()
      return try await database.connected { session in
        try await session.execute("SELECT seq FROM s ORDER BY seq").rows.map { try $0.get("seq", as: Int.self) }
      }
    }
  }

  @Test func `by default is the first event`() async throws {
    #expect(try await seen("\"beginning\"") == [1, 2, 3, 4, 5, 6])
  }
  @Test func `can be the present`() async throws { #expect(try await seen("\"present\"") == [6]) }
  @Test func `can be a sequence`() async throws { #expect(try await seen("3") == [4, 5, 6]) }
  @Test func `can be a time`() async throws { #expect(try await seen("\"2026-01-04\"") == [3, 4, 5, 6]) }
  @Test func `can be a time after every event`() async throws { #expect(try await seen("\"2999-01-04\"") == [6]) }
  @Test func `can be where inline projections ended`() async throws {
    #expect(try await seen("\"inline-handover\"") == [6])
  }
  @Test func `is its position, once it has one`() async throws {
    let sequences = try await seen("\"present\"") {
      try await $0.script("INSERT INTO mt_event_progression VALUES ('S:All', 2)")
    }
    #expect(sequences == [3, 4, 5, 6])
  }
}
