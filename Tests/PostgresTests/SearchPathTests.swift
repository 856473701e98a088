import Postgres
import Testing

@Suite struct `A search path` {
  @Test(arguments: [
    (#""$user", public"#, ["public"], ["public"]),
    ("public", ["public"], ["public"]),
    (#""$user",public"#, ["public"], ["public"]),
    (#"App, "App", "a ""quoted"" one""#, ["app", "App", #"a "quoted" one"#], ["app", "App", #"a "quoted" one"#]),
    (#"public, tidemark, "tidemark_page""#, ["public"], ["public"]),
    ("TideMark, public", ["public"], ["public"]),
    (#""""#, [], []),
    ("", [], []),
    ("pg_catalog, public", ["pg_catalog", "public"], ["pg_catalog", "public"]),
  ])
  func `of the operator's has none of our schemas, and none of the role's own`(
    setting: String, schemas: [String], homes: [String]
  ) {
    for role in ["tidemark", "app"] {
      let path = SearchPath(setting: setting, role: role, ownSchema: role == "tidemark")
      #expect(path.schemas == schemas && path.homes == homes, "\(role)")
    }
  }

  /// What others should find is not made in a schema that only one role searches.
  @Test(arguments: [
    (#""$user", public"#, ["app", "public"], ["public", "app"]),
    (#"a, "$user", b"#, ["a", "app", "b"], ["a", "b", "app"]),
    (#""$user""#, ["app"], ["app"]),
    ("public", ["public"], ["public"]),
  ])
  func `searches the role's own schema where it stands, and makes nothing there before others`(
    setting: String, schemas: [String], homes: [String]
  ) {
    let path = SearchPath(setting: setting, role: "app", ownSchema: true)
    #expect(path.schemas == schemas && path.homes == homes)
  }

  @Test func `is written with quotes, whatever is in a name`() {
    #expect(SearchPath.text(["public", "My App", #"a"b"#]) == #""public", "My App", "a""b""#)
  }

  /// A session begins with ours before anything is looked up, and knows what was set.
  @Test func `of a session is ours from its first statement on`() async throws {
    var options = try await SharedCluster.options()
    options.conninfo += #" options='-c search_path=\"App\",tidemark,public'"#
    options.pins = .always
    let session = try await Session.connect(options)
    let path = try await session.execute("SELECT current_setting('search_path')").rows[0].text(0)
    #expect(path == SearchPath.ours && session.operatorPath.schemas == ["App", "public"] && session.isDirect)
    try await session.script("BEGIN")
    try await session.execute(SearchPath.set(SearchPath.text(session.operatorPath.schemas)))
    let theirs = try await session.execute("SELECT current_setting('search_path')").rows[0].text(0)
    #expect(theirs == #""App", "public""#)
    try await session.script("COMMIT")
    let after = try await session.execute("SELECT current_setting('search_path')").rows[0].text(0)
    #expect(after == SearchPath.ours)
    await session.close()
  }
}
