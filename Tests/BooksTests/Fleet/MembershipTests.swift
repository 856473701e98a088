import Books
import Postgres
import TestSupport
import Testing

@Suite(.gated) struct `Nodes on record` {
  @Test func `are known by their locks alone`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install("")
    let membership = Membership()
    try await database.connected { session in
      #expect(try await membership.join("one", version: "1", mode: "hotcold", session))
      try await database.connected { other in
        #expect(try await membership.join("two", version: "1", mode: "hotcold", shards: ["A:All"], other))
        #expect(try await membership.live(session).map(\.name) == ["one", "two"])
        let view = try await membership.view(of: "one", timeout: .seconds(5), session)
        #expect(view.nodes == ["one": [], "two": ["A:All"]] && view.processID == session.processID)
        #expect(try await !membership.join("one", version: "1", mode: "hotcold", other), "the name is taken")
      }
      try await eventually("two is gone with its session") {
        let view = try await membership.view(of: "one", timeout: .seconds(5), session)
        let live = try await membership.live(session)
        return live.map(\.name) == ["one"] && view.nodes.count == 1
      }
    }
  }
}
