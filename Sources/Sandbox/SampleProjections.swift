/// Three projections over the sample events, two in the batch form and one in the event form, and queries that check
/// them.
///
/// The demo shows them and the tests recount them: `trip` and `day` are sums, and `account` is right only if every
/// event was applied once and in order.
package enum SampleProjections {
  package static let toml = #"""
    [projections.Trip]
    events = ["trip_started", "travel", "trip_ended"]
    tables = ["trip"]
    setup = '''
    CREATE TABLE trip (id uuid PRIMARY KEY, driver text, legs bigint NOT NULL, traveled numeric NOT NULL, last_seq bigint NOT NULL);
    '''
    sql = '''
    INSERT INTO trip AS t (id, driver, legs, traveled, last_seq)
    SELECT stream_id, max(data->>'Driver'), count(*) FILTER (WHERE type = 'travel'),
           coalesce(sum((data->>'Traveled')::numeric), 0), max(seq_id)
      FROM batch
     GROUP BY stream_id
    ON CONFLICT (id) DO UPDATE
       SET driver = coalesce(excluded.driver, t.driver), legs = t.legs + excluded.legs,
           traveled = t.traveled + excluded.traveled, last_seq = excluded.last_seq
    '''

    [projections.Day]
    events = ["travel"]
    tables = ["day"]
    setup = "CREATE TABLE day (day date PRIMARY KEY, legs bigint NOT NULL, traveled numeric NOT NULL)"
    sql = '''
    INSERT INTO day AS d (day, legs, traveled)
    SELECT (data->>'Day')::date, count(*), sum((data->>'Traveled')::numeric) FROM batch GROUP BY 1
    ON CONFLICT (day) DO UPDATE SET legs = d.legs + excluded.legs, traveled = d.traveled + excluded.traveled
    '''

    [projections.Ledger]
    tables = ["account"]
    setup = "CREATE TABLE account (id uuid PRIMARY KEY, owner text NOT NULL, balance numeric NOT NULL DEFAULT 0, version bigint NOT NULL)"

    [projections.Ledger.on]
    account_opened = "INSERT INTO account (id, owner, version) VALUES (:stream_id, :data->>'Owner', :version)"
    # The version checks the order: an event out of order would change nothing, and the recount would find the difference.
    money_moved = '''
    UPDATE account SET balance = balance + (:data->>'Amount')::numeric, version = :version
     WHERE id = :stream_id AND version = :version - 1
    '''
    """#

  /// One check of a read model against a recount of the events: the number of rows that differ must be 0.
  package struct Recount: Sendable {
    package var readModel: String
    /// Returns `rows`, the number of rows in the read model, and `wrong`, the rows that are only in the read model or
    /// only in the recount.
    package var query: String
  }

  package static let recounts = [
    Recount(
      readModel: "trip",
      query: check(
        "trip", columns: "id, driver, legs, traveled, last_seq",
        against: """
          SELECT stream_id, max(data->>'Driver'), count(*) FILTER (WHERE type = 'travel'),
                 coalesce(sum((data->>'Traveled')::numeric), 0), max(seq_id)
            FROM mt_events WHERE type IN ('trip_started', 'travel', 'trip_ended') GROUP BY 1
          """)),
    Recount(
      readModel: "day",
      query: check(
        "day", columns: "day, legs, traveled",
        against: """
          SELECT (data->>'Day')::date, count(*), sum((data->>'Traveled')::numeric)
            FROM mt_events WHERE type = 'travel' GROUP BY 1
          """)),
    Recount(
      readModel: "account",
      query: check(
        "account", columns: "id, owner, balance, version",
        against: """
          SELECT stream_id, max(data->>'Owner'), coalesce(sum((data->>'Amount')::numeric), 0), max(version)
            FROM mt_events WHERE type IN ('account_opened', 'money_moved') GROUP BY 1
          """)),
  ]

  private static func check(_ table: String, columns: String, against recount: String) -> String {
    """
    WITH model AS (SELECT \(columns) FROM \(table)), recount AS (\(recount))
    SELECT (SELECT count(*) FROM model) AS rows,
           (SELECT count(*) FROM (SELECT * FROM model EXCEPT ALL SELECT * FROM recount) AS extra)
           + (SELECT count(*) FROM (SELECT * FROM recount EXCEPT ALL SELECT * FROM model) AS missing) AS wrong
    """
  }
}
