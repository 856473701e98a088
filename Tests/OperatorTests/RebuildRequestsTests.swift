import Books
import Operator
import Postgres
import Rules
import Settings
import TestSupport
import Testing

@Suite(.gated) struct `A rebuild that operators ask for` {
  /// Before any node has taken it up.
  @Test func `is asked for once, by the first command, and another one is refused`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(SlowProjection.toml)
    let definition = settings.projections[0]
    for _ in 0..<10 {
      try await database.script("DELETE FROM tidemark.rebuild")
      let answers = try await Self.together(6) { _ in
        try await database.connected { session in
          try await RebuildRequests(by: "a test", byNode: true).ask(.init(), for: definition, restart: false, session)
        }
      }
      #expect(answers.count { $0 == .begun } == 1 && answers.count { $0 == .joined } == 5, "\(answers)")
    }
    var other = RebuildTable.Request()
    other.compares = true
    try await database.connected { [other] session async throws in
      let rebuilds = RebuildRequests(by: "another", byNode: true)
      await #expect {
        _ = try await rebuilds.ask(other, for: definition, restart: false, session)
      } throws: {
        ($0 as? Problem)?.code == .rebuild(.underWay)
      }
      #expect(try await rebuilds.ask(other, for: definition, restart: true, session) == .begun)
    }
  }

  private static func together<T: Sendable>(
    _ count: Int, _ work: @escaping @Sendable (Int) async throws -> T
  ) async throws -> [T] {
    try await withThrowingTaskGroup(of: T.self) { group in
      for number in 0..<count { group.addTask { try await work(number) } }
      var results: [T] = []
      for try await result in group { results.append(result) }
      return results
    }
  }
}
