package import Postgres

/// Marten's own view of dead letters, `mt_doc_deadletterevent`, where the store has it: a document for each failure that Tidemark keeps,
/// which goes when its letter goes. Marten's tools count and show them.
package struct LetterDocuments: Sendable {
  package let shape: StoreShape

  package init(_ shape: StoreShape) { self.shape = shape }

  private var table: String { "\(shape.store).mt_doc_deadletterevent" }

  /// The identity of a letter's document, so that it is written once and found again.
  private static func id(_ shard: SQL, _ sequence: String) -> SQL {
    "md5('tidemark ' || \(shard) || ' ' || \(raw: sequence))::uuid"
  }

  /// Writes the documents of letters of a shard that are on record.
  ///
  /// - Parameter sequences: of the letters; nil for all.
  package func keep(_ sequences: [Int64]?, shard: String) -> [SQL] {
    guard shape.hasDeadLetterDocuments else { return [] }
    let tenant = shape.eventColumns.contains("tenant_id") ? "coalesce(e.tenant_id::text, '*DEFAULT*')" : "'*DEFAULT*'"
    let hasType = shape.deadLetterDocumentsHaveType
    let type = hasType ? ", mt_dotnet_type" : ""
    let typeValue = hasType ? ", 'JasperFx.Events.Daemon.DeadLetterEvent'" : ""
    let id = Self.id("\(shard)::text", "d.seq_id")
    return remove(sequences, shard: shard) + [
      """
      INSERT INTO \(raw: table) (id, data\(raw: type))
      SELECT \(id), jsonb_build_object(
               'Id', \(id), 'TenantId', \(raw: tenant), 'ProjectionName', split_part(d.shard, ':', 1), 'ShardName', 'All',
               'Timestamp', d.last_failed_at, 'EventSequence', d.seq_id, 'ExceptionMessage', d.message,
               'ExceptionType', CASE WHEN d.sqlstate IS NULL THEN d.class WHEN d.sqlstate LIKE 'TM%' THEN d.sqlstate
                                     ELSE 'SQLSTATE ' || d.sqlstate END)\(raw: typeValue)
        FROM tidemark.dead_letter AS d
        LEFT JOIN \(raw: shape.store).mt_events AS e ON e.seq_id = d.seq_id
       WHERE d.shard = \(shard) AND (d.seq_id = ANY (\(sequences)::bigint[])) IS NOT FALSE AND d.class NOT IN ('parked', 'late_arrival')
      """
    ]
  }

  /// Removes the documents of letters; for all of a shard's, those too that a host has written for the projection.
  package func remove(_ sequences: [Int64]?, shard: String) -> [SQL] {
    guard shape.hasDeadLetterDocuments else { return [] }
    guard let sequences else {
      return [
        """
        DELETE FROM \(raw: table) AS m
         WHERE m.data->>'ProjectionName' = split_part(\(shard)::text, ':', 1) AND m.data->>'ShardName' = 'All'
           -- Another version of the projection has the same name there.
           AND NOT EXISTS (SELECT FROM tidemark.dead_letter AS d
                            WHERE d.shard <> \(shard) AND m.id = \(Self.id("d.shard", "d.seq_id")))
        """
      ]
    }
    return [
      "DELETE FROM \(raw: table) AS m USING unnest(\(sequences)::bigint[]) AS s (seq_id) WHERE m.id = \(Self.id("\(shard)::text", "s.seq_id"))"
    ]
  }

  /// Removes the documents of letters that an operator removes, whose role may lack the privilege: the documents stay then.
  package func removeIfPermitted(_ sequences: [Int64]?, shard: String, _ session: isolated Session) async throws {
    for statement in remove(sequences, shard: shard) {
      let may = try await session.execute(
        """
        SELECT has_table_privilege(\(table), 'DELETE') AND has_table_privilege(\(table), 'SELECT') AS may
        """
      ).rows[0].get("may", as: Bool.self)
      if may { try await session.execute(statement) }
    }
  }
}
