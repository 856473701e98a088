import Postgres
import Testing

@Suite struct `A setting of the server` {
  @Test func `is known, whatever the server's version has`() async throws {
    let session = try await Session.connect(SharedCluster.options())
    let names = try await session.execute("SELECT name FROM pg_settings ORDER BY 1").rows.compactMap { $0.text(0) }
    #expect(names.count > 300)
    let unknown = names.filter { ServerSettings.treatment(of: $0) == nil }
    #expect(unknown == [], "say in ServerSettings what becomes of a session under these")
    await session.close()
  }

  /// What a role may have set for an old application, or by mistake.
  @Test func `that would bend a session has our value from the first statement on`() async throws {
    var options = try await SharedCluster.options()
    let hostile = [
      "standard_conforming_strings=off", "array_nulls=off", "exit_on_error=on", "quote_all_identifiers=on",
      "row_security=on", "idle_session_timeout=1000",
      "default_transaction_isolation=serializable", "restrict_nonsystem_relation_kind=view,foreign-table",
    ]
    options.conninfo += " options='\(hostile.map { "-c \($0)" }.joined(separator: " "))'"
    options.pins = .always
    let session = try await Session.connect(options)
    for (name, value) in ServerSettings.pinned + [("restrict_nonsystem_relation_kind", "")]
    where !name.hasPrefix("tcp_") {
      let rows = try await session.execute(
        "SELECT setting, reset_val FROM pg_settings WHERE name = \(name)"
      ).rows
      #expect(rows.first?.text(0) == value, "\(name)")
      #expect(rows.first.map { $0.text(1) != value } ?? false, "\(name) is not hostile here")
    }
    await session.close()
  }
}
