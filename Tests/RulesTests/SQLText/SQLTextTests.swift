import Rules
import Testing

@Suite struct `Statements of a script` {
  @Test(arguments: [
    ("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
    ("SELECT ';' ; SELECT $$;$$;", ["SELECT ';'", "SELECT $$;$$"]),
    ("SELECT 1 -- ; no\n, 2; /* ; /* ; */ */ SELECT 3", ["SELECT 1 -- ; no\n, 2", "SELECT 3"]),
    (";;  ;", []),
    ("SELECT E'\\';'; SELECT \";\"", ["SELECT E'\\';'", "SELECT \";\""]),
    (
      "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3",
      ["CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)", "SELECT 3"]
    ),
    (
      "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; SELECT 3",
      ["CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END", "SELECT 3"]
    ),
  ])
  func `are cut at semicolons that are code`(script: String, expected: [String]) {
    #expect(SQLText.statements(in: script).map(\.text) == expected)
  }

  @Test func `know the line they begin on`() {
    let lines = SQLText.statements(in: "\n-- first\nSELECT 1;\n\n  SELECT\n2").map(\.line)
    #expect(lines == [2, 4])
  }

  @Test(arguments: [
    ("  commit", "COMMIT"), ("-- x\n/* y */ Insert into t", "INSERT"), ("((select 1))", "SELECT"), ("'a'", ""),
    ("", ""),
  ])
  func `tell their first word`(text: String, keyword: String) {
    #expect(SQLText.firstKeyword(of: text) == keyword)
  }
}

@Suite struct `Names in a statement` {
  private func bind(_ text: String) throws(SQLTextError) -> (text: String, columns: [EventColumn]) {
    let bound = try SQLText.bind(Statement(text: text))
    return (bound.text, bound.columns)
  }

  @Test func `become numbered parameters, each name once`() throws {
    let bound = try bind("INSERT INTO t VALUES (:stream_id, :data->>'a', :stream_id, :version)")
    #expect(bound.text == "INSERT INTO t VALUES ($1, $2->>'a', $1, $3)")
    #expect(bound.columns == [.stream_id, .data, .version])
  }

  @Test(arguments: [
    "SELECT ':data'", "SELECT $$ :data $$", "SELECT $x$ :data $$ $x$", "SELECT 1 -- :data",
    "SELECT /* :data /* :id */ */ 1",
    "SELECT \":data\"", "SELECT '1'::text", "SELECT E'\\':data'", "SELECT a[lo:hi] FROM t", "SELECT U&':data'",
    "SELECT a := 1",
  ])
  func `are left alone where they only look like names`(text: String) throws {
    let bound = try bind(text)
    #expect(bound.text == text)
    #expect(bound.columns.isEmpty)
  }

  @Test func `are found next to a cast and in a slice`() throws {
    #expect(try bind("SELECT :data::text").text == "SELECT $1::text")
    #expect(try bind("SELECT a[:version:hi]").text == "SELECT a[$1:hi]")
    #expect(try bind("SELECT:data").text == "SELECT $1")
  }

  @Test func `that are unknown are refused with the nearest one and their line`() {
    let error = #expect(throws: SQLTextError.self) { try SQLText.bind(Statement(text: "SELECT\n:strem_id")) }
    #expect(error == SQLTextError(message: "unknown name :strem_id; did you mean :stream_id?", line: 1))
  }

  @Test(arguments: [
    ("SET search_path = a", true), ("SET SESSION x.y = '1'", true), ("SET LOCAL x.y = '1'", false),
    ("SET CONSTRAINTS ALL DEFERRED", false), ("set /* */ constraints a immediate", false),
  ])
  func `of SET are refused where they outlast the transaction`(statement: String, isRefused: Bool) {
    #expect((SQLText.objection(to: statement) != nil) == isRefused)
  }

  @Test(arguments: [
    ("CREATE TABLE IF NOT EXISTS trip (id int)", true), ("create unlogged table \"Trip\" (id int)", true),
    ("CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", true),
    ("CREATE MATERIALIZED VIEW v AS SELECT 1", true), ("CREATE TABLE trip", true),
    ("CREATE TABLE public.trip (id int)", false), ("CREATE TABLE IF NOT EXISTS \"a b\" . \"c\" (id int)", false),
    ("CREATE TEMP TABLE trip AS SELECT 1", false), ("CREATE TEMPORARY VIEW v AS SELECT 1", false),
    ("CREATE INDEX ON trip (id)", false), ("CREATE SCHEMA s", false), ("INSERT INTO t SELECT 'CREATE TABLE a'", false),
  ])
  func `of what a page creates need their schema`(statement: String, isRefused: Bool) {
    #expect((SQLText.objection(toHomeOf: statement) != nil) == isRefused)
  }

  @Test(arguments: ["SELECT $1", "SELECT 'a", "SELECT /* a", "SELECT $$ a", "SELECT \"a"])
  func `are not looked for in what cannot be read`(text: String) {
    #expect(throws: SQLTextError.self) { try SQLText.bind(Statement(text: text)) }
  }

  @Test func `survive any bytes`() {
    var random = SplitMix64(seed: walkSeed())
    let pieces = [
      ":data", "'", "\"", "$$", "$a$", "--", "\n", "/*", "*/", ";", "(", ")", "E'", "\\", ":", "::", "é", "[", "]",
      "BEGIN ATOMIC", "END", "$1", " ",
    ]
    for _ in 0..<20_000 {
      let text = (0..<random.below(12)).map { _ in pieces[random.below(pieces.count)] }.joined()
      let statements = SQLText.statements(in: text)
      for statement in statements {
        #expect(!statement.text.isEmpty)
        _ = try? SQLText.bind(Statement(text: statement.text))
      }
    }
  }
}

@Suite struct `The nearest name` {
  @Test(arguments: [
    ("databse", "database"), ("pol_size", "pool_size"), ("POOL_SIZE", "pool_size"), ("event_stroe", "event_store"),
  ])
  func `is found for a slip`(word: String, meant: String) {
    #expect(nearestName(to: word, in: ["database", "pool_size", "event_store", "log"]) == meant)
  }

  @Test(arguments: ["xyz", "", "projections"])
  func `is not invented`(word: String) {
    #expect(nearestName(to: word, in: ["database", "pool_size", "event_store"]) == nil)
  }
}
