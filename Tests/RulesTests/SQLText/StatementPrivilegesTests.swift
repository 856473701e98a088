import Rules
import Testing

@Suite struct `The privileges of a statement` {
  @Test(arguments: [
    ("INSERT INTO t SELECT 1 FROM batch", SQLText.TableUse.writes, ["INSERT"]),
    ("insert into t values (1) on conflict do nothing", .writes, ["SELECT", "INSERT"]),
    ("INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET n = 1", .writes, ["SELECT", "INSERT", "UPDATE"]),
    ("DELETE FROM t WHERE n = 'UPDATE'", .writes, ["SELECT", "DELETE"]),
    ("UPDATE t SET n = 1 -- INSERT", .writes, ["SELECT", "UPDATE"]),
    ("INSERT INTO t VALUES (1) RETURNING n", .writes, ["SELECT", "INSERT"]),
    ("INSERT INTO t SELECT n FROM other", .reads, ["SELECT"]),
    ("SELECT n FROM t FOR UPDATE", .locksRows, ["SELECT", "UPDATE"]),
  ])
  func `follow from its words and its locks`(_ text: String, _ use: SQLText.TableUse, _ expected: [String]) {
    #expect(SQLText.privileges(text, use) == expected)
  }
}
