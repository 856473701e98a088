package import Postgres
package import Rules

/// Reads the events of a page in bulk, as ``EventBlock``s: for plugins, which get them outside of any transaction.
package struct EventBlocks: Sendable {
  package let shape: StoreShape

  package init(_ shape: StoreShape) { self.shape = shape }

  /// What to read.
  package struct Request: Sendable {
    package var page: Page
    /// Nil for every type.
    package var types: Set<String>?
    /// The shard whose parked streams to leave out; nil leaves none out.
    package var parkedFor: String?
    package var archived: Archived
    /// Rows at most.
    package var rowLimit: Int
    /// Bytes at most; the first event always fits.
    package var byteLimit: Int

    package init(
      page: Page, types: Set<String>?, parkedFor: String? = nil, archived: Archived = .keep, rowLimit: Int,
      byteLimit: Int
    ) {
      self.page = page
      self.types = types
      self.parkedFor = parkedFor
      self.archived = archived
      self.rowLimit = rowLimit
      self.byteLimit = byteLimit
    }
  }

  /// Reads in a transaction of its own, which ends before this returns.
  ///
  /// - Parameter life: of the mark that bounds the page.
  package func read(_ request: Request, life: Int, on session: Session) async throws -> EventBlock {
    do {
      let shown = try await session.pipeline([
        "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
        """
        SELECT passed_over, parked
          FROM tidemark_internal.show_page(\(request.parkedFor ?? ""), \(request.page.floor), \(request.page.ceiling),
                                  \(request.types.map { $0.sorted() })::text[], \(request.parkedFor != nil))
        """,
        "SELECT set_config('tidemark.archived', \(request.archived.rawValue), true)",
      ])[1].rows[0]
      let leftOut = EventBlock.LeftOut(
        passedOver: try shown.get("passed_over", as: String.self), parked: try shown.get("parked", as: String.self))
      let builder = try await copy(rowLimit: request.rowLimit, byteLimit: request.byteLimit, on: session)
      let compacted = try await self.compacted(request, leftOut, on: session)
      return builder.block(
        request.page, types: request.types, leftOut: leftOut, compacted: compacted, life: life,
        hasUUIDStreams: shape.streamIDType == "uuid")
    } catch {
      await session.rollBack()
      throw error
    }
  }

  /// The rows of the page that stand for compacted events. After the events, so that no stream is compacted between the two unseen.
  private func compacted(
    _ request: Request, _ leftOut: EventBlock.LeftOut, on session: Session
  ) async throws -> [CompactedRow] {
    guard shape.mayCompact else {
      try await session.script("ROLLBACK")
      return []
    }
    let looked = try await session.pipeline([
      "ROLLBACK", "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
      "SELECT set_config('tidemark.archived', \(request.archived.rawValue), true)",
      "SELECT set_config('tidemark.passed_over', \(leftOut.passedOver), true)",
      CompactedRows.look(request.page, passable: []), "ROLLBACK",
    ])
    return try CompactedRows.rows(looked[4])
  }

  /// The events that `tidemark.batch` shows in the current transaction, to replay a dead letter.
  package func shown(_ page: Page, on session: isolated Session) async throws -> EventBlock {
    let builder = try await copy(rowLimit: 1, byteLimit: .max, on: session)
    let compacted =
      shape.mayCompact ? try CompactedRows.rows(try await session.execute(CompactedRows.look(page, passable: []))) : []
    return builder.block(
      page, types: nil, leftOut: EventBlock.LeftOut(), compacted: compacted, life: 0,
      hasUUIDStreams: shape.streamIDType == "uuid")
  }

  /// The limits are reached, and the server need not send the remaining rows.
  private struct Enough: Error {}

  private func copy(rowLimit: Int, byteLimit: Int, on session: Session) async throws -> EventBlockBuilder {
    let building = Building(EventBlockBuilder(rowLimit: rowLimit, byteLimit: byteLimit))
    do {
      _ = try await session.copyOut(statement(rowLimit: rowLimit)) { row in
        guard try building.builder.take(row) else { throw Enough() }
      }
    } catch is Enough {
      // The session cancelled the statement, and with it the transaction.
    }
    return building.builder
  }

  /// Filled on the session's thread while the caller waits for it.
  private final class Building: @unchecked Sendable {
    var builder: EventBlockBuilder
    init(_ builder: EventBlockBuilder) { self.builder = builder }
  }

  /// The columns in the order of `EventFields`. One row beyond the limit shows that there are more.
  private func statement(rowLimit: Int) -> SQL {
    let stream = shape.streamIDType == "uuid" ? "stream_id" : "stream_id::text"
    let limit = rowLimit < .max ? "LIMIT \(rowLimit + 1)" : ""
    return """
      COPY (
        SELECT seq_id, version::bigint, "timestamp", id, \(raw: stream), type, tenant_id, causation_id, correlation_id, headers,
               CASE WHEN NOT is_binary THEN data END
          FROM tidemark.batch
         ORDER BY seq_id
        \(raw: limit)
      ) TO STDOUT (FORMAT binary)
      """
  }
}
