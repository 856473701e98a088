import Foundation
import Postgres
import Rules
package import Sandbox
package import Settings
import Testing

/// A projection that takes its time, so that a rebuild can be met in the middle of it; it counts, so that nothing is missed or done twice
/// unseen.
package enum SlowProjection {
  package static let toml = #"""
    [projections.Slow]
    events = ["travel"]
    tables = ["slow"]
    setup = "CREATE TABLE slow (id uuid PRIMARY KEY, legs bigint NOT NULL)"
    sql = '''
    WITH pause AS MATERIALIZED (SELECT pg_sleep(coalesce(nullif(current_setting('test.pause', true), ''), '0')::float8))
    INSERT INTO slow AS s (id, legs) SELECT stream_id, count(*) FROM batch, pause GROUP BY 1
    ON CONFLICT (id) DO UPDATE SET legs = s.legs + excluded.legs
    '''
    """#

  /// A store with events in 40 streams, applied by the live shard; from here on a page takes a while.
  package static func prepared(
    on cluster: PrivateCluster? = nil, events: Int = 20_000, pause: String = "0.1"
  ) async throws -> (TestDatabase, Settings) {
    let database =
      if let cluster { try await TestDatabase.make(on: cluster) } else { try await TestDatabase.make() }
    let settings = try await database.install(toml)
    try await database.script(
      """
      INSERT INTO mt_streams (id) SELECT md5(s::text)::uuid FROM generate_series(0, 39) AS s;
      INSERT INTO mt_events (seq_id, id, stream_id, version, data, type)
      SELECT i, gen_random_uuid(), md5((i % 40)::text)::uuid, i, '{}', 'travel' FROM generate_series(1, \(events)) AS i;
      SELECT setval('mt_events_sequence', \(events));
      """)
    try await database.follow(settings)
    try await database.pause(pause)
    return (database, settings)
  }
}

extension TestDatabase {
  /// How long a page of the slow projection takes from now on, in sessions that begin after it.
  package func pause(_ seconds: String?) async throws {
    let setting = seconds.map { "SET test.pause = '\($0)'" } ?? "RESET test.pause"
    try await script("ALTER DATABASE \(name) \(setting)")
  }

  /// What the slow projection has counted.
  package func legs() async throws -> Int { try await value("SELECT coalesce(sum(legs), 0)::bigint FROM slow") }

  /// Streams whose count is not that of their events.
  package func wrongLegs() async throws -> Int {
    try await value(
      """
      SELECT count(*) FROM (SELECT stream_id AS id, count(*) AS legs FROM mt_events WHERE type = 'travel' GROUP BY 1) AS e
        FULL JOIN slow AS s USING (id) WHERE e.legs IS DISTINCT FROM s.legs
      """)
  }

  /// Up to which the rebuild under way has come.
  package func progress() async throws -> Int64 {
    try await value("SELECT coalesce((SELECT min(position) FROM tidemark.rebuild_worker), 0)")
  }
}
