/// Projections of numbers in `data.n`, for tests of what happens to "bad", which is none.
package enum Numbers {
  package static let batch = """
    [projections.Sum]
    events = ["n"]
    tables = ["sum"]
    setup = "CREATE TABLE sum (seq bigint PRIMARY KEY, n int NOT NULL)"
    sql = "INSERT INTO sum SELECT seq_id, (data->>'n')::int FROM batch"

    """
  package static let perEvent = """
    [projections.Each]
    tables = ["each"]
    setup = "CREATE TABLE each (id serial PRIMARY KEY, seq bigint UNIQUE, n int NOT NULL)"
    on.n = "INSERT INTO each (seq, n) VALUES (:seq_id, (:data->>'n')::int)"

    """
}
