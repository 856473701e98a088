import Postgres
import Testing

@Suite struct `Questions asked ahead` {
  /// Each asks what the server counts, so an answer shows when it was asked.
  private static let question: SQL = "SELECT nextval('asked')"

  private func session() async throws -> Session {
    let session = try await Session.connect(SharedCluster.options())
    try await session.script("CREATE TEMP SEQUENCE asked")
    return session
  }

  @Test func `are answered once, and then asked again`() async throws {
    let session = try await session()
    await session.ask(ahead: [Self.question, "SELECT 'other'"])
    try await session.script("SELECT setval('asked', 100)")
    #expect(try await session.execute(Self.question).rows[0].get(0, as: Int.self) == 1)
    #expect(try await session.execute(Self.question).rows[0].get(0, as: Int.self) == 101)
    // Unlike text, values make another question.
    #expect(try await session.execute("SELECT \("that")::text").rows[0].text(0) == "that")
    #expect(try await session.execute("SELECT 'other'").rows[0].text(0) == "other")
    await session.close()
  }

  @Test func `are forgotten where nobody needed them`() async throws {
    let session = try await session()
    await session.ask(ahead: [Self.question, "SELECT 'other'"])
    await session.forgetAnswers()
    #expect(try await session.execute(Self.question).rows[0].get(0, as: Int.self) == 2)
    await session.close()
  }

  @Test func `fail where each is asked, if one fails`() async throws {
    let session = try await session()
    await session.ask(ahead: ["SELECT 'good'", "SELECT FROM nothing"])
    #expect(await session.transactionStatus == .idle)
    #expect(try await session.execute("SELECT 'good'").rows[0].text(0) == "good")
    await #expect { try await session.execute("SELECT FROM nothing") } throws: {
      ($0 as? PostgresError)?.sqlState?.code == "42P01"
    }
    await session.close()
  }
}
