@testable import Daemon
import Rules
import Testing

@Suite struct `The status line` {
  private func entry(_ state: ShardState, _ reason: String? = nil, at position: Int64? = 100) -> HealthBoard.Entry {
    HealthBoard.Entry(state: state, reason: reason, position: position)
  }

  private func line(_ entries: [String: HealthBoard.Entry], mark: Int64? = 100) -> String {
    StatusLine.text([database(nil, entries, mark: mark)])
  }

  private func database(
    _ name: String?, _ entries: [String: HealthBoard.Entry], mark: Int64?
  ) -> StatusLine.Database {
    StatusLine.Database(
      name: name, mark: mark,
      shards: Dictionary(uniqueKeysWithValues: entries.map { (ShardName(projection: $0.key), $0.value) }))
  }

  @Test func `names the unreachable ones of several databases, and whose shard is behind`() {
    let acme = database("acme", ["Trip": entry(.following), "Day": entry(.following, at: 40)], mark: 100)
    #expect(
      StatusLine.text([
        acme, database("globex", ["Trip": entry(.following), "Day": entry(.stopped, "no")], mark: nil),
      ])
        == "following with 2 of 4 shards in 1 of 2 databases · 1 unreachable: globex · worst lag 60 (acme/Day:All) · 1 stopped: globex/Day:All (no)"
    )
    #expect(
      StatusLine.text([database("a", [:], mark: nil), database("b", [:], mark: nil)])
        == "waiting for 2 databases")
  }

  @Test func `has the server's last words while it waits, and how many shards wait with it`() {
    let away = StatusLine.Database(
      name: nil, mark: nil, shards: [:], declared: 3, away: "database \"x\" does not exist")
    #expect(StatusLine.text([away]) == "waiting for the database: database \"x\" does not exist · 3 shards to run")
    var acme = database("acme", ["Trip": entry(.following)], mark: 100)
    acme.hindered = ["the reader of requests: too many connections"]
    let globex = StatusLine.Database(name: "globex", mark: nil, shards: [:], declared: 2, away: "no password")
    #expect(
      StatusLine.text([acme, globex])
        == "following with 1 of 3 shards in 1 of 2 databases · 1 unreachable: globex (no password) · not working: acme: the reader of requests: too many connections"
    )
  }

  @Test func `says in a few words how all shards are`() {
    #expect(line([:], mark: nil) == "waiting for the database")
    #expect(line(["Trip": entry(.following)]) == "following with 1 of 1 shards · mark 100")
    #expect(
      line(["Trip": entry(.following), "Day": entry(.catchingUp, at: 40)], mark: 1_234_567)
        == "following with 2 of 2 shards · mark 1,234,567 · worst lag 1,234,527 (Day:All)")
  }

  @Test func `names who waits, why, and until when`() {
    #expect(
      line(["Trip": entry(.following), "Day": entry(.paused, "deadlock detected (until 10:00:00)")])
        == "following with 1 of 2 shards · mark 100 · 1 paused: Day:All (deadlock detected (until 10:00:00))")
    let long = String(repeating: "x", count: 90) + " (until 10:00:00)"
    #expect(
      line(["Day": entry(.paused, long), "Trip": entry(.paused, "a")])
        == "following with 0 of 2 shards · mark 100 · 2 paused: Day:All (\(String(repeating: "x", count: 60))… (until 10:00:00)), …"
    )
    #expect(line(["Day": entry(.stopped, "no")]).hasSuffix("1 stopped: Day:All (no)"))
  }
}
