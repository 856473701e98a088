import Rules
import Testing

@Suite struct `A statement whose result depends on the width of the page` {
  @Test(arguments: [
    "UPDATE trip AS t SET traveled = t.traveled + (b.data->>'Traveled')::numeric FROM batch AS b WHERE b.stream_id = t.id",
    "update \"trip\" set traveled = b.data->'x' from tidemark.batch b where b.stream_id = id",
    "UPDATE trip t SET n = n + 1 FROM region r JOIN batch b ON b.tenant_id = r.id WHERE b.stream_id = t.id",
    "UPDATE trip t SET n = t.n + e.x FROM (SELECT stream_id, (data->>'x')::int AS x FROM batch WHERE type = 'a') AS e WHERE e.stream_id = t.id",
    "WITH e AS (SELECT stream_id, data FROM batch) UPDATE trip t SET n = e.data FROM e WHERE e.stream_id = t.id",
    "WITH e AS MATERIALIZED (SELECT * FROM batch), f AS (SELECT * FROM e WHERE true) UPDATE trip SET n = f.data FROM f WHERE f.stream_id = id",
    "WITH u AS (UPDATE trip t SET n = b.version FROM batch b WHERE b.stream_id = t.id RETURNING t.id) INSERT INTO seen SELECT id FROM u",
    "UPDATE trip SET n = n + 1 WHERE id IN (SELECT stream_id FROM batch WHERE type = 'x')",
    "UPDATE trip AS t SET n = t.n + 1 WHERE EXISTS (SELECT FROM batch AS b WHERE b.stream_id = t.id)",
    "MERGE INTO trip t USING batch b ON b.stream_id = t.id WHEN MATCHED THEN UPDATE SET n = b.version",
    "MERGE INTO trip t USING (SELECT * FROM batch) b ON b.stream_id = t.id WHEN NOT MATCHED THEN INSERT VALUES (b.stream_id)",
    "INSERT INTO trip AS t (id, n) SELECT stream_id, 1 FROM batch ON CONFLICT (id) DO UPDATE SET n = t.n + excluded.n",
    "/* c */ UPDATE trip /* FROM x */ SET n = b.version -- GROUP BY\n FROM batch b WHERE b.stream_id = trip.id",
  ])
  func `is found`(statement: String) {
    #expect(SQLText.widthDependence(of: statement) != nil)
  }

  @Test(arguments: [
    "INSERT INTO trip AS t (id, n) SELECT stream_id, sum((data->>'x')::int) FROM batch GROUP BY stream_id ON CONFLICT (id) DO UPDATE SET n = t.n + excluded.n",
    "INSERT INTO seen SELECT seq_id FROM batch",
    "INSERT INTO seen SELECT seq_id FROM batch ON CONFLICT (seq) DO NOTHING",
    "INSERT INTO trip SELECT DISTINCT ON (stream_id) stream_id, data FROM batch ORDER BY stream_id, seq_id DESC ON CONFLICT (id) DO UPDATE SET data = excluded.data",
    "INSERT INTO trip AS t SELECT 'all', coalesce(sum((data->>'x')::int), 0) FROM batch ON CONFLICT (id) DO UPDATE SET n = t.n + excluded.n",
    "UPDATE trip t SET n = t.n + b.n FROM (SELECT stream_id, count(*) AS n FROM batch GROUP BY stream_id) AS b WHERE b.stream_id = t.id",
    "WITH b AS (SELECT stream_id, sum(1) AS n FROM batch GROUP BY 1) UPDATE trip t SET n = t.n + b.n FROM b WHERE b.stream_id = t.id",
    "UPDATE trip SET closed = true FROM batch b WHERE b.stream_id = id AND b.type = 'closed'",
    "UPDATE trip SET closed = now(), open = NULL WHERE id IN (SELECT stream_id FROM batch)",
    "UPDATE trip t SET n = n + r.x FROM region AS r WHERE r.id = t.region",
    "UPDATE trip t SET n = b.x FROM (SELECT stream_id, data->'x' AS x, row_number() OVER (PARTITION BY stream_id ORDER BY seq_id DESC) AS i FROM batch) AS b WHERE b.i = 1 AND b.stream_id = t.id",
    "UPDATE trip t SET n = other.batch FROM other WHERE other.id = t.id",
    "UPDATE trip t SET n = b.n FROM app.batch AS b WHERE b.id = t.id",
    "DELETE FROM trip USING batch b WHERE b.stream_id = trip.id",
    "MERGE INTO trip t USING (SELECT stream_id, sum(1) AS n FROM batch GROUP BY 1) b ON b.stream_id = t.id WHEN MATCHED THEN UPDATE SET n = b.n",
    "SELECT refresh(array_agg(stream_id)) FROM batch",
    "UPDATE trip SET note = 'UPDATE trip SET n = b.n FROM batch b' WHERE id = '1'",
    "", "WITH", "UPDATE trip SET", "WITH a AS (", "UPDATE t SET x = (((", "MERGE INTO x USING", "INSERT INTO t SELECT",
  ])
  func `is not seen in one that groups, is constant, or reads no events`(statement: String) {
    #expect(SQLText.widthDependence(of: statement) == nil)
  }
}
