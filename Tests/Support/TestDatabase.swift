import Operator
import Daemon
import Foundation
package import Postgres
package import Sandbox
package import Settings
package import Testing

/// A database of its own for one test, on the cluster all tests share, with an event store where asked.
package struct TestDatabase {
  package let cluster: PrivateCluster
  package let name: String
  package let conninfo: String

  package init(cluster: PrivateCluster, name: String, conninfo: String) {
    self.cluster = cluster
    self.name = name
    self.conninfo = conninfo
  }

  package var options: ConnectionOptions { ConnectionOptions(conninfo: conninfo, pins: .never) }

  package static func make(encoding: String? = nil) async throws -> TestDatabase {
    let cluster = try await SharedCluster.running()
    let name = try await cluster.createDatabase(encoding: encoding)
    return TestDatabase(cluster: cluster, name: name, conninfo: cluster.conninfo(database: name))
  }

  /// On a cluster of the test's own, which it may stop and restart.
  package static func make(on cluster: PrivateCluster) async throws -> TestDatabase {
    let name = try await cluster.createDatabase()
    return TestDatabase(cluster: cluster, name: name, conninfo: cluster.conninfo(database: name))
  }

  /// Settings for this database with these projections, installed.
  package func install(
    _ projections: String, eventStore: String = "append = \"quick\"", database: String = "",
    streamIDType: String = "uuid"
  ) async throws -> Settings {
    let settings = try settings(projections, eventStore: eventStore, database: database)
    try await connected { session in
      _ = try await Installer(settings: settings).install(session, streamIDType: streamIDType)
    }
    return settings
  }

  package func settings(
    _ projections: String, eventStore: String = "append = \"quick\"", database: String = ""
  ) throws -> Settings {
    try Settings.parse(
      """
      [database]
      url = "\(conninfo)"
      \(database)
      [event_store]
      \(eventStore)
      \(projections)
      """, file: "test.toml", files: SettingsFiles(read: { .failure(.init("there is no \($0)")) }))
  }

  package func connected<T: Sendable>(_ body: (Session) async throws -> T) async throws -> T {
    try await Session.connect(options, threadName: "test").closing(body)
  }

  /// The first column of the first row.
  package func value<T: PostgresDecodable>(_ sql: SQL, as type: T.Type = T.self) async throws -> T {
    try await connected { try await $0.execute(sql).rows[0].get(0, as: T.self) }
  }

  package func script(_ text: String) async throws {
    _ = try await connected { try await $0.script(text) }
  }

  /// Appends events of one type to a new stream.
  package func append(type: String, count: Int, data: String = "{}") async throws {
    _ = try await connected { session in
      try await session.execute(
        """
        SELECT tidemark.append(gen_random_uuid(), jsonb_agg(jsonb_build_object('type', \(type)::text, 'data', \(data)::jsonb)))
          FROM generate_series(1, \(count))
        """)
    }
  }

  /// Lets sample writers write side by side; returns how many events they committed.
  package func write(writers: Int, transactions: Int, seed: UInt64 = 0, applicationName: String = "tidemark")
    async throws
    -> Int
  {
    var options = options
    options.applicationName = applicationName
    return try await withThrowingTaskGroup(of: Int.self) { [options] tasks in
      for number in 1...writers {
        tasks.addTask { try await SampleWriter(seed: seed &+ UInt64(number)).run(options, transactions: transactions) }
      }
      return try await tasks.reduce(0, +)
    }
  }

  /// An event of a stream of its own, with a number that was drawn before.
  package func insert(sequence: Int64) async throws {
    try await script(
      """
      WITH stream AS (INSERT INTO mt_streams (id) VALUES (gen_random_uuid()) RETURNING id)
      INSERT INTO mt_events (seq_id, id, stream_id, version, data, type)
      SELECT \(sequence), gen_random_uuid(), id, 1, '{}', 'x' FROM stream
      """)
  }

  package func position(_ shard: String) async throws -> Int64? {
    try await value("SELECT (SELECT last_seq_id FROM mt_event_progression WHERE name = \(shard))", as: Int64?.self)
  }

  /// Every read model of the samples against a recount of the events: how many rows differ.
  package func recount() async throws -> [String: Int] {
    try await connected { session in
      var wrong: [String: Int] = [:]
      for recount in SampleProjections.recounts {
        let row = try await session.execute(SQL(text: recount.query)).rows[0]
        wrong[recount.readModel] = try row.get("wrong", as: Int.self)
      }
      return wrong
    }
  }
}

/// One cluster for all tests of the process; it ends with the process.
package enum SharedCluster {
  private static let starting = Task { try await PrivateCluster.start(settings: ["fsync": "off"]) }

  package static func running() async throws -> PrivateCluster { try await starting.value }
}

/// Waits until a condition holds, or fails the test.
package func eventually(
  within limit: Duration = .seconds(30), _ what: String, sourceLocation: Testing.SourceLocation = #_sourceLocation,
  _ condition: () async throws -> Bool
) async throws {
  // Limits are those of a machine with time to spare, and the suite itself leaves it none.
  let deadline = ContinuousClock.now + limit * 4
  while try await !condition() {
    guard ContinuousClock.now < deadline else {
      Issue.record("not within four times \(limit): \(what)", sourceLocation: sourceLocation)
      throw CancellationError()
    }
    try await Task.sleep(for: .milliseconds(5))
  }
}
