import Books
import Operator
import Postgres
import TestSupport
import Testing

@Suite(.gated) struct `The lock that keeps readers out` {
  /// The wait for the second table gets what the first left of the patience. A patience for each would make the call take that long
  /// from the moment the first is had.
  @Test func `has one patience for all tables`() async throws {
    let database = try await TestDatabase.make()
    _ = try await database.install("")
    try await database.script(
      """
      CREATE TABLE a (); CREATE TABLE b ();
      CREATE FUNCTION given_up_after() RETURNS float8 LANGUAGE plpgsql AS $$
      DECLARE began timestamptz := clock_timestamp();
      BEGIN
        PERFORM tidemark_internal.lock_out_readers(ARRAY['a', 'b']::regclass[], '3 s');
        RETURN NULL;
      EXCEPTION WHEN lock_not_available THEN
        RETURN extract(epoch FROM clock_timestamp() - began);
      END $$
      """)
    let (first, second) = (
      try await Session.connect(database.options, threadName: "first"),
      try await Session.connect(database.options, threadName: "second")
    )
    try await first.script("BEGIN; SELECT FROM a")
    try await second.script("BEGIN; SELECT FROM b")
    let locking = Task { try await database.value("SELECT given_up_after()", as: Double?.self) }
    var waited: Double?
    try await database.connected { session in
      try await eventually("most of the time is over") {
        waited = try await session.execute(
          "SELECT max(extract(epoch FROM clock_timestamp() - waitstart))::float8 FROM pg_locks WHERE relation = 'a'::regclass AND NOT granted"
        ).rows[0].get(0, as: Double?.self)
        return (waited ?? 0) > 2
      }
    }
    try await first.script("COMMIT")
    let took = try #require(try await locking.value, "it had both tables")
    #expect(took > 2.5 && took < waited! + 3, "\(took) s")
    await first.close()
    await second.close()
  }
}
