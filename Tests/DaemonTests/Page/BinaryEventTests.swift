import Books
import Daemon
import Foundation
import Operator
import Postgres
import Rules
import Telemetry
import TestSupport
import Testing

/// Marten 9 may store the payload of a type in the column bdata; `data` is then an empty object, which is no payload.
@Suite(.gated) struct `An event in binary` {
  @Test func `is never applied as an empty object, whatever form the projection has`() async throws {
    let (database, programs) = (try await TestDatabase.make(), try PluginPrograms())
    let plugin = try programs.python(
      """
      def answer(page, events):
          for event in events: note("seen", event["seq_id"])
          return applied(page)
      """)
    let settings = try await database.install(
      """
      [projections.Sum]
      tables = ["total"]
      setup = "CREATE TABLE total (id integer PRIMARY KEY, n integer NOT NULL)"
      sql = '''
      INSERT INTO total AS t SELECT 1, coalesce(sum((data->>'n')::integer), 0) FROM batch
      ON CONFLICT (id) DO UPDATE SET n = t.n + excluded.n
      '''
      [projections.Count]
      tables = ["counted"]
      setup = "CREATE TABLE counted (seq bigint PRIMARY KEY)"
      sql = "INSERT INTO counted SELECT seq_id FROM batch"
      [projections.Each]
      tables = ["each"]
      setup = "CREATE TABLE each (seq bigint PRIMARY KEY, n integer)"
      [projections.Each.on]
      x = "INSERT INTO each VALUES (:seq_id, (:data->>'n')::integer)"
      [projections.Type]
      tables = ["typed"]
      setup = "CREATE TABLE typed (seq bigint PRIMARY KEY)"
      [projections.Type.on]
      x = "INSERT INTO typed VALUES (:seq_id)"
      [projections.Plug]
      exec = ["\(plugin)"]
      """)
    try await database.append(data: (1...6).map { "{\"n\": \($0)}" })
    try await database.script(
      """
      ALTER TABLE mt_events ADD COLUMN bdata bytea;
      UPDATE mt_events SET bdata = '\\x01', data = '{}' WHERE seq_id IN (1, 4)
      """)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      let warned = daemon.observed.all.filter { $0.fact == .storeAtRisk }.compactMap { $0.failure?.message }
      #expect(warned.contains { $0.contains("events of type x are binary") }, "\(warned)")
    }
    #expect(try await database.value("SELECT n FROM total", as: Int.self) == 2 + 3 + 5 + 6)
    #expect(
      try await database.value("SELECT string_agg(seq || ':' || n, ' ' ORDER BY seq) FROM each", as: String.self)
        == "2:2 3:3 5:5 6:6")
    #expect(programs.lines("seen") == ["2", "3", "5", "6"])
    // A projection that does not read the data takes every event.
    for table in ["counted", "typed"] {
      #expect(try await database.value("SELECT count(*) FROM \(raw: table)", as: Int.self) == 6, "\(table)")
    }
    let letters = try await database.value(
      """
      SELECT string_agg(format('%s %s %s %s', shard, seq_id, class, message LIKE '%event ' || seq_id || ' of type x is binary%'), ', '
                        ORDER BY shard, seq_id) FROM tidemark.dead_letter
      """, as: String.self)
    #expect(
      letters
        == "Each:All 1 event t, Each:All 4 event t, Plug:All 1 event t, Plug:All 4 event t, Sum:All 1 event t, Sum:All 4 event t"
    )
  }
}
