package import Postgres
package import Rules

/// The oldest PostgreSQL with the locks, snapshots and multiranges that the daemon relies on.
package let oldestServerVersion = 140_000

/// The layout of one event store of the `marten` dialect: which of Marten's optional columns exist, and what identifies a stream.
///
/// Marten 7, 8 and 9 differ, and so may two stores of one version, so everything here is looked up and nothing is assumed.
package struct StoreShape: Sendable, Hashable {
  /// The schema of the store's tables, unquoted.
  package var schema: String
  /// `uuid` or `character varying`.
  package var streamIDType: String
  package var eventColumns: Set<String>
  package var streamColumns: Set<String>
  /// How many numbers a session takes from the sequence at once; above 1 the proof of the mark needs a horizon.
  package var sequenceCache: Int64
  /// The table of positions exists.
  package var hasProgression: Bool
  /// Marten's opt-in table of skipped ranges exists.
  package var hasHighWaterSkips: Bool
  /// Marten's table of dead letter documents exists.
  package var hasDeadLetterDocuments = false
  /// These have the column `mt_dotnet_type`.
  package var deadLetterDocumentsHaveType = false
  /// A host of Marten's may compact streams here: it has made the functions of its own, or the column that says so. A store that `init`
  /// made has neither, and its pages are not looked through for compacted rows.
  package var mayCompact = false
  /// Marten's table of floors exists: events that a projection never replays.
  package var hasFloors = false
  /// The sequence's object identifier, as `pg_locks` names it.
  package var sequenceOID: Int64
  /// The event table's object identifier, as `pg_locks` names it.
  package var eventsOID: Int64
  /// The database's object identifier, as `pg_locks` names it.
  package var databaseOID: Int64
  /// As it was before everything else here was looked up.
  package var identity = StoreIdentity(token: "")

  package static let sequenceName = "mt_events_sequence"

  /// What ``read(_:schema:)`` asks, in its order, for `Session.ask(ahead:)`.
  package static func questions(schema: String) -> [SQL] {
    [
      StoreIdentity.statement(schema: schema), Trust(schema: schema).others, lookUp(schema: schema),
      columns(schema: schema),
    ]
  }

  /// Looks the store up.
  ///
  /// - Throws: ``Problem`` if there is no store, or one that Tidemark cannot follow exactly; `PostgresError` otherwise.
  package static func read(_ session: Session, schema: String) async throws -> StoreShape {
    guard session.serverVersion >= oldestServerVersion else {
      throw Problem(
        .store(.oldServer), "the server is PostgreSQL \(session.serverVersion / 10_000)",
        hint: "Tidemark needs PostgreSQL \(oldestServerVersion / 10_000) or newer.")
    }
    // Apart, and first: what changes after it is noticed by the next proof.
    let identity = try await StoreIdentity.read(session, schema: schema)
    try await Trust(schema: schema).refuseOthers(session)
    let found = try await session.execute(lookUp(schema: schema)).rows[0]
    guard let eventsOID = try found.get("events", as: Int64?.self) else {
      let others = try await session.execute(
        """
        SELECT n.nspname::text AS name FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
         WHERE c.relname = 'mt_events' AND c.relkind IN ('r', 'p') AND n.nspname <> \(schema) ORDER BY 1
        """
      ).rows.map { "event_store.schema = \"\(try $0.get("name", as: String.self))\"" }
      throw Problem(
        .store(.noStore), "there is no event store: table \(schema).mt_events does not exist",
        hint: others.isEmpty
          ? "Set event_store.schema to its schema, or run `tidemark init` to create one."
          : "There is one elsewhere in this database: set \(others.joined(separator: " or "))."
      )
    }
    guard let sequenceOID = try found.get("sequence", as: Int64?.self) else {
      throw try await lackOfSequence(session, schema: schema)
    }
    if let example = try found.get("tenant_sequence", as: String?.self) {
      throw Problem(
        .store(.unfitStore),
        "\(schema).mt_events is partitioned by tenant, and each tenant has a sequence of its own, such as \(printable(example)): a number is not unique, so one mark and one position cannot follow them",
        hint:
          "Leave these projections to Marten's own daemon, or have the host write a store without UseTenantPartitionedEvents, with its tenants in the column tenant_id: Tidemark follows that, and set event_store.schema to it."
      )
    }
    guard try found.get("has_key", as: Bool.self) else {
      throw Problem(
        .store(.unfitStore), "\(schema).mt_events has no primary key or unique index on seq_id alone",
        hint: "Tidemark finds and orders events by seq_id: ALTER TABLE \(schema).mt_events ADD PRIMARY KEY (seq_id).")
    }
    let columns = try await session.execute(columns(schema: schema)).rows
    let events = try columns.filter { try $0.get("relation", as: String.self) == "mt_events" }
    let streams = try columns.filter { try $0.get("relation", as: String.self) == "mt_streams" }
    let eventColumns = Set(try events.map { try $0.get("name", as: String.self) })
    let needed = ["seq_id", "id", "stream_id", "version", "data", "type", "timestamp"]
    let missing = needed.filter { !eventColumns.contains($0) }
    guard missing.isEmpty else {
      throw Problem(
        .store(.unfitStore), "\(schema).mt_events has no column \(missing.joined(separator: ", "))",
        hint: "It needs the columns of a Marten 7, 8 or 9 event table.")
    }
    let stream = try events.first { try $0.get("name", as: String.self) == "stream_id" }
    let streamIDType = try stream?.get("type", as: String.self) ?? "uuid"
    // It becomes part of scripts, and other types have no hash that divides streams among workers.
    guard ["uuid", "character varying", "text"].contains(streamIDType) else {
      throw Problem(
        .store(.unfitStore), "\(schema).mt_events.stream_id has the type \(streamIDType)",
        hint: "Tidemark follows streams whose ids are uuid, varchar or text.")
    }
    var shape = StoreShape(
      schema: schema,
      streamIDType: streamIDType,
      eventColumns: eventColumns,
      streamColumns: Set(try streams.map { try $0.get("name", as: String.self) }),
      sequenceCache: try found.get("cache", as: Int64.self),
      hasProgression: try found.get("has_progression", as: Bool.self),
      hasHighWaterSkips: try found.get("has_skips", as: Bool.self),
      sequenceOID: sequenceOID,
      eventsOID: eventsOID,
      databaseOID: try found.get("database", as: Int64.self))
    shape.hasDeadLetterDocuments = try found.get("has_letters", as: Bool.self)
    shape.deadLetterDocumentsHaveType = try found.get("letters_have_type", as: Bool.self)
    let hasHost = try found.get("has_host", as: Bool.self)
    shape.mayCompact = hasHost || shape.streamColumns.contains("compacted_version")
    shape.hasFloors = try found.get("has_floors", as: Bool.self)
    shape.identity = identity
    return shape
  }

  /// Says where the numbers of the table come from instead: the table may have moved and left a view, or its sequence has another name.
  private static func lackOfSequence(_ session: Session, schema: String) async throws -> Problem {
    let row = try await session.execute(
      """
      SELECT c.relkind IN ('r', 'p') AS is_table,
             (SELECT format('%I.%I', sn.nspname, s.relname) FROM pg_catalog.pg_depend AS d
                JOIN pg_catalog.pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
                JOIN pg_catalog.pg_namespace AS sn ON sn.oid = s.relnamespace
               WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.deptype = 'a'
               ORDER BY 1 LIMIT 1) AS owned,
             (SELECT string_agg(n.nspname::text, ', ' ORDER BY 1) FROM pg_catalog.pg_class AS o
                JOIN pg_catalog.pg_namespace AS n ON n.oid = o.relnamespace
               WHERE o.relname = 'mt_events' AND o.relkind IN ('r', 'p') AND o.oid <> c.oid) AS elsewhere
        FROM pg_catalog.pg_class AS c WHERE c.oid = to_regclass(\(raw: schemaLiteral(schema, "mt_events")))
      """
    ).rows.first
    let (isTable, elsewhere) = (try row?.get("is_table", as: Bool.self), try row?.get("elsewhere", as: String?.self))
    if isTable == false {
      return Problem(
        .store(.unfitStore), "\(schema).mt_events is no table, and \(schema) has no sequence \(sequenceName)",
        hint: elsewhere.map { "Set event_store.schema to the schema of the event table: \($0)." }
          ?? "Set event_store.schema to the schema of the event table.")
    }
    let sequence = "\(SQL.quoted(schema)).\(sequenceName)"
    return Problem(
      .store(.unfitStore), "the event store in schema \(schema) has no sequence \(schema).\(sequenceName)",
      hint: try row?.get("owned", as: String?.self).map {
        "Its numbers belong to the sequence \($0). Give it the name that Marten gives it: ALTER SEQUENCE \($0) RENAME TO \(sequenceName);"
      }
        ?? "Make it, with the numbers that are taken: CREATE SEQUENCE \(sequence) OWNED BY \(SQL.quoted(schema)).mt_events.seq_id; SELECT setval('\(sequence)', (SELECT max(seq_id) FROM \(SQL.quoted(schema)).mt_events));"
    )
  }

  /// Whether both describe the same tables in the same layout: nothing that was prepared for one has to be made anew for the other.
  package func isSame(as other: StoreShape) -> Bool {
    var other = other
    other.identity = identity
    return self == other
  }

  /// Marten 9 may keep the payload of an event in the column bdata, and leaves `{}` in data.
  package var mayHaveBinary: Bool { eventColumns.contains("bdata") }

  /// Why an event in binary cannot be read: an SQL expression of its columns seq_id and type, as text.
  package static func binaryEvent(ofColumns table: String) -> String {
    "'event ' || \(table).seq_id || ' of type ' || coalesce(\(table).type, '') || ' is binary: its payload is in the column bdata, and its data is empty'"
  }

  /// The same for an event at hand.
  package static func binaryEvent(_ sequence: Int64, type: String) -> String {
    "event \(sequence) of type \(type) is binary: its payload is in the column bdata, and its data is empty"
  }

  /// The store's schema, quoted for SQL.
  package var store: String { SQL.quoted(schema) }
  /// The sequence, qualified and quoted for SQL.
  package var sequence: String { "\(store).\(StoreShape.sequenceName)" }

  /// The rows that a page shows: events, and not those that are archived by now if the page's projection skips them.
  ///
  /// A flag may be set at any time after the commit, so without such a projection it changes nothing: what was committed is applied once.
  package var livePredicate: String {
    guard eventColumns.contains("is_archived") else { return eventPredicate }
    return eventPredicate
      + " AND (e.is_archived IS NOT TRUE OR (SELECT current_setting('tidemark.archived', true)) IS DISTINCT FROM 'skip')"
  }

  /// Why a page does not show an event whose type it takes; NULL if it shows it.
  package var skipReason: String {
    var cases: [String] = []
    if eventColumns.contains("is_skipped") { cases.append("WHEN e.is_skipped THEN 'marked'") }
    if eventColumns.contains("is_archived") {
      cases.append("WHEN e.is_archived AND current_setting('tidemark.archived', true) = 'skip' THEN 'archived'")
    }
    return cases.isEmpty ? "NULL::text" : "CASE \(cases.joined(separator: " ")) END"
  }

  /// Whether an event is archived by now.
  package var archivedFlag: String { eventColumns.contains("is_archived") ? "e.is_archived IS TRUE" : "false" }

  /// Whether pages of a projection may skip events because of flags in the store.
  package func maySkip(_ archived: Archived) -> Bool {
    eventColumns.contains("is_skipped") || (archived == .skip && eventColumns.contains("is_archived"))
  }

  /// Leaves out rows that are no events: those marked as skipped, and the fillers Marten writes for numbers it gave up.
  package var eventPredicate: String {
    var terms = ["true"]
    if eventColumns.contains("is_skipped") { terms.append("e.is_skipped IS NOT TRUE") }
    if eventColumns.contains("mt_dotnet_type") {
      terms.append("(e.type <> 'tombstone' OR e.mt_dotnet_type IS NULL OR e.mt_dotnet_type NOT LIKE '%.Tombstone, %')")
    }
    return terms.joined(separator: " AND ")
  }

  /// The shape of the store that `init` creates in a database without one.
  package static func new(schema: String, streamIDType: String) -> StoreShape {
    StoreShape(
      schema: schema, streamIDType: streamIDType == "varchar" ? "character varying" : streamIDType,
      eventColumns: [
        "seq_id", "id", "stream_id", "version", "data", "type", "timestamp", "tenant_id", "mt_dotnet_type",
        "correlation_id", "causation_id", "headers", "is_archived",
      ],
      streamColumns: ["id", "type", "version", "timestamp", "created", "tenant_id", "is_archived"],
      sequenceCache: 1, hasProgression: false, hasHighWaterSkips: false, sequenceOID: 0, eventsOID: 0, databaseOID: 0)
  }

  private static func lookUp(schema: String) -> SQL {
    """
    SELECT events.oid::bigint AS events,
           sequence.oid::bigint AS sequence,
           coalesce((SELECT s.seqcache FROM pg_catalog.pg_sequence AS s WHERE s.seqrelid = sequence.oid), 1) AS cache,
           EXISTS (SELECT FROM pg_catalog.pg_index AS i
                    WHERE i.indrelid = events.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
                      AND (SELECT array_agg(a.attname::text ORDER BY a.attname)
                             FROM pg_catalog.pg_attribute AS a
                            WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey))
                          IN (ARRAY['seq_id'], ARRAY['is_archived', 'seq_id'])) AS has_key,
           to_regclass(\(raw: schemaLiteral(schema, "mt_event_progression"))) IS NOT NULL AS has_progression,
           -- A table that another role made first is not Marten's.
           EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = to_regclass(\(raw: schemaLiteral(schema, "mt_high_water_skips")))
                      AND \(Trust(schema: schema).isTrusted("c.relowner"))) AS has_skips,
           EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = to_regclass(\(raw: schemaLiteral(schema, "mt_doc_deadletterevent")))
                      AND \(Trust(schema: schema).isTrusted("c.relowner"))) AS has_letters,
           EXISTS (SELECT FROM pg_catalog.pg_attribute AS a WHERE a.attname = 'mt_dotnet_type' AND NOT a.attisdropped
                      AND a.attrelid = to_regclass(\(raw: schemaLiteral(schema, "mt_doc_deadletterevent")))) AS letters_have_type,
           EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = to_regclass(\(raw: schemaLiteral(schema, "mt_event_projection_floors")))
                      AND \(Trust(schema: schema).isTrusted("c.relowner"))) AS has_floors,
           EXISTS (SELECT FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
                    WHERE n.nspname = \(schema) AND p.proname IN ('mt_archive_stream', 'mt_quick_append_events')) AS has_host,
           -- A partition of a tenant draws its numbers from the sequence of its name.
           (SELECT min(s.relname::text) FROM pg_catalog.pg_partitioned_table AS p
              JOIN pg_catalog.pg_attribute AS a ON a.attrelid = p.partrelid AND a.attnum = ANY (p.partattrs) AND a.attname = 'tenant_id'
              JOIN pg_catalog.pg_class AS s ON s.relkind = 'S' AND starts_with(s.relname::text, \(raw: SQL.quoted(literal: sequenceName + "_")))
               AND s.relnamespace = (SELECT c.relnamespace FROM pg_catalog.pg_class AS c WHERE c.oid = events.oid)
             WHERE p.partrelid = events.oid) AS tenant_sequence,
           (SELECT d.oid::bigint FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()) AS database
      FROM (SELECT to_regclass(\(raw: schemaLiteral(schema, "mt_events")))::oid AS oid) AS events,
           (SELECT to_regclass(\(raw: schemaLiteral(schema, sequenceName)))::oid AS oid) AS sequence
    """
  }

  private static func columns(schema: String) -> SQL {
    """
    SELECT c.relname::text AS relation, a.attname::text AS name, format_type(a.atttypid, NULL) AS type
      FROM pg_catalog.pg_attribute AS a
      JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
      JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
     WHERE n.nspname = \(schema) AND c.relname IN ('mt_events', 'mt_streams') AND a.attnum > 0 AND NOT a.attisdropped
    """
  }

  /// `'"schema".table'`, as `to_regclass` reads it.
  private static func schemaLiteral(_ schema: String, _ relation: String) -> String {
    SQL.quoted(literal: "\(SQL.quoted(schema)).\(relation)")
  }
}
