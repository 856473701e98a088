import Testing

@testable import Postgres

/// Which hosts are tried, with what.
@Suite struct `The hosts of a connection string` {
  private func attempts(_ conninfo: String, _ defaults: [String: String] = [:]) throws -> [String] {
    let given = try ConnectionOptions(conninfo: conninfo).parsed()
    return ConnectionOptions.attempts(given: given, defaults: defaults).map { attempt in
      ["host", "hostaddr", "port", "target_session_attrs"].compactMap { attempt[$0] }.joined(separator: " ")
    }
  }

  @Test(arguments: [
    ("host=a", [""]),
    ("host=a,b", ["a primary", "b primary"]),
    ("host=a,b port=1,2", ["a 1 primary", "b 2 primary"]),
    ("host=a,b port=1", ["a 1 primary", "b 1 primary"]),
    ("postgresql://a:1,b:2/x", ["a 1 primary", "b 2 primary"]),
    ("host=a,b target_session_attrs=any", ["a any", "b any"]),
    ("host=a,b target_session_attrs=read-write", ["a read-write", "b read-write"]),
    ("host=a,b target_session_attrs=prefer-standby", ["a standby", "b standby", "a any", "b any"]),
    ("hostaddr=10.0.0.1,10.0.0.2", ["10.0.0.1 primary", "10.0.0.2 primary"]),
    ("host=a,b hostaddr=10.0.0.1,10.0.0.2", ["a 10.0.0.1 primary", "b 10.0.0.2 primary"]),
    // libpq says what is wrong with these.
    ("host=a,b port=1,2,3", [""]), ("host=a,b hostaddr=10.0.0.1", [""]),
    ("service=shop host=a,b", [""]),
  ])
  func `are tried one by one`(conninfo: String, expected: [String]) throws {
    #expect(try attempts(conninfo) == expected)
  }

  @Test func `may come from the environment`() throws {
    #expect(try attempts("dbname=x", ["host": "a,b", "port": "5"]) == ["a 5 primary", "b 5 primary"])
    #expect(try attempts("dbname=x", ["host": "a,b", "service": "shop"]) == [""])
    #expect(try attempts("host=c", ["host": "a,b"]) == [""])
  }
}
