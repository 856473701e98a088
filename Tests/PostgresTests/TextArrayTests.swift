import Postgres
import Sandbox
import Testing

@Suite struct `An array of texts` {
  @Test(arguments: [
    [], [""], ["", ""], ["a"], ["a", "b"],
    ["a,b", "{x}", "\"q\"", "\\", "it's", "ünï", "NULL", "null", " ", "\n", "\u{1F}"],
  ])
  func `comes back as it was sent`(texts: [String]) async throws {
    try await withSession { session async throws in
      #expect(try await session.value("SELECT \(texts)::text[]", as: [String].self) == texts)
      #expect(try await session.value("SELECT NULLIF(\(texts)::text[], \(texts)::text[])", as: [String]?.self) == nil)
    }
  }

  @Test func `is not one with NULL in it, or of more dimensions`() async throws {
    try await withSession { session async throws in
      for sql in [
        "SELECT '{a,NULL}'::text[]", "SELECT '{{a},{b}}'::text[]", "SELECT '[0:0]={a}'::text[]", "SELECT 'a'",
      ] as [SQL] {
        await #expect(throws: PostgresError.self) { try await session.value(sql, as: [String].self) }
      }
    }
  }
}
