import Postgres
import Sandbox
import TestSupport
import Testing

/// Nodes that pass gaps by their own clocks, and writers who bring numbers around the grace.
@Suite(.gated) struct `An event that arrives late, with several nodes` {
  /// Every shard has every event once: in its read model, or as a dead letter.
  @Test func `is either applied or kept, by whichever node`() async throws {
    try await Fleet.with(counters: 6, append: "rich", grace: "100ms") { fleet in
      let database = fleet.database
      try await fleet.start(3)
      try await fleet.balanced(among: 3)
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 0..<6 {
          group.addTask {
            var random = SplitMix(seed: UInt64(number))
            let session = try await Session.connect(database.options)
            for _ in 0..<40 {
              let reserved = try await session.execute("SELECT nextval('mt_events_sequence')").rows[0].get(
                0, as: Int64.self)
              // Around the grace, now and then beyond it.
              try await Task.sleep(for: .milliseconds(Int.random(in: 0...160, using: &random)))
              if Int.random(in: 0..<10, using: &random) > 0 { try await database.insert(sequence: reserved) }
            }
            await session.close()
          }
        }
        try await group.waitForAll()
      }
      try await database.append(type: "x", count: 1)
      let caught = try await Program.run(["wait", "--timeout", "60s", "-c", try fleet.config()])
      #expect(caught.code == 0, "\(caught)")
      // Which are not once, and where.
      func wrong() async throws -> String {
        var found = ""
        for n in 1...6 {
          found += try await database.value(
            """
            SELECT coalesce(string_agg(format('P%s: %s applied %s, letters %s; ', \(n)::integer, seq_id, applied, letters), ''), '') FROM (
                SELECT e.seq_id, (SELECT count(*) FROM \(identifier: "p\(n)") AS p WHERE p.seq = e.seq_id) AS applied,
                       (SELECT count(*) FROM tidemark.dead_letter AS d WHERE d.shard = \("P\(n):All") AND d.seq_id = e.seq_id) AS letters
                  FROM mt_events AS e) AS t WHERE applied + letters <> 1
            """, as: String.self)
        }
        return found
      }
      do {
        try await eventually(within: .seconds(20), "late arrivals are accounted for") { try await wrong().isEmpty }
      } catch {
        let gaps = try await database.value("SELECT string_agg(g::text, ' ') FROM tidemark.gap AS g", as: String?.self)
        Issue.record("\(try await wrong())\n\(gaps ?? "no gaps")")
        throw error
      }
      #expect(
        try await database.value("SELECT count(*) FROM tidemark.dead_letter", as: Int.self) > 0, "some were late")
    }
  }
}
