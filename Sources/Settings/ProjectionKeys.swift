import Rules

/// A projection as written in the file, before its keys are checked against each other.
struct ProjectionDraft: Hashable, Sendable {
  struct Text: Hashable, Sendable {
    var text: String
    var place: TOMLPlace
    /// The line on which the text begins.
    var firstLine: Int
  }

  struct OnType: Hashable, Sendable {
    var type: String
    var statement: Text
  }

  var version = 1
  var events: [String]?
  var tables: [String] = []
  var sql: Text?
  var sqlFile: Text?
  var on: [OnType]?
  var setup: Text?
  var setupFile: Text?
  var start = StartPosition.beginning
  var onPoison = OnPoison.skip
  var onMismatch = OnMismatch.wait
  var archived = Archived.keep
  var acceptCompacted: [String]?
  var key: String?
  var tenantKey: String?
  var parallel = Parallelism.none
  var plugin = PluginDraft()

  static let keys = commonKeys + pluginKeys

  private static let commonKeys: [Key<ProjectionDraft>] = [
    .integer(
      "version", \.version, 1...9999,
      """
      Raise it, and name other tables, to start from the beginning under a new shard name beside the old one: Trip:V2:All has its own
      position. In the tables that the old version fills, the new one waits: every event would count a second time.
      """),
    .strings(
      "events", \.events, of: "event types", example: ["trip_started", "travel"],
      "The event types that `batch` shows; all if omitted. Not with `on`, which names its event types itself."
    ),
    Key(
      path: "tables", form: "an array of table names, like [\"trip\"]",
      meaning: """
        The tables that the projection fills, each as in SQL: with its schema if it is not on the search_path, and in quotes within the
        quotes, ['"Orders"'], where a name has capitals. `tidemark init` runs `setup` if one of them is missing.
        """,
      example: "[\"trip\"]",
      decode: { toml, root throws(Mismatch) in root.tables = try Settings.strings(toml) },
      show: { $0.tables.isEmpty ? nil : TOMLText.strings($0.tables) }),
    .text(
      "sql", \.sql, "SQL statements", example: "INSERT INTO trip … SELECT … FROM batch …",
      "The batch form: statements that read the view `batch`, run in order for each page of events, in one transaction with the position."
    ),
    .text(
      "sql_file", \.sqlFile, "the path of a file", example: "trip.sql",
      "A file with the statements of `sql`; relative to the directory of this one."),
    Key(
      path: "on", form: "a table of statements, one for each event type",
      meaning: """
        The event form: for each event type, the statement to run for each such event, in order. :seq_id, :id, :stream_id,
        :version, :type, :data, :timestamp, :tenant_id, :headers, :causation_id and :correlation_id stand for the event's columns.
        """,
      example: "{ travel = \"UPDATE trip SET legs = legs + 1 WHERE id = :stream_id\" }",
      decode: { toml, root throws(Mismatch) in
        guard case .table(let entries) = toml.content, !entries.isEmpty else { throw Mismatch() }
        root.on = []
        for entry in entries {
          switch entry.value.content {
          case .string(let text):
            root.on?.append(
              OnType(
                type: entry.key, statement: Text(text: text, place: entry.value.place, firstLine: entry.value.textLine))
            )
          case .unusable: break
          default: throw Mismatch(expected: "a string for each event type", found: "something else for \(entry.key)")
          }
        }
      },
      show: { draft in
        draft.on.map { statements in
          "{ "
            + statements.map { "\(TOMLText.key($0.type)) = \(TOMLText.string($0.statement.text))" }.joined(
              separator: ", ") + " }"
        }
      }),
    .text(
      "setup", \.setup, "SQL statements", example: "CREATE TABLE trip (…)",
      """
      Creates the tables; `tidemark init` runs it if one of `tables` is missing, or each time if `tables` is empty. Tables without a schema
      are made in the first schema of the search_path that is not the role's own.
      """),
    .text(
      "setup_file", \.setupFile, "the path of a file", example: "trip-tables.sql",
      "A file with the statements of `setup`; relative to the directory of this one."),
    Key(
      path: "start",
      form: "\"beginning\", \"present\", \"inline-handover\", a sequence, or a time like 2026-01-31T00:00:00Z",
      meaning: """
        Where a shard without a position begins: with the first event; after the newest event; after a sequence; or with the first event
        at or after a time. "inline-handover" takes over a read model that the application has maintained itself until now: the shard
        begins after the newest event, and does not start while events are being appended; `tidemark status` then says so. A rebuild
        begins where the shard began; after "inline-handover" it begins with the first event, as the application's read model did.
        """,
      decode: { toml, root throws(Mismatch) in root.start = try start(toml) },
      show: { draft in
        switch draft.start {
        case .beginning: "\"beginning\""
        case .present: "\"present\""
        case .inlineHandover: "\"inline-handover\""
        case .sequence(let sequence): "\(sequence)"
        case .time(let time): TOMLText.string(time)
        }
      }),
    .choice(
      "on_poison", \.onPoison,
      """
      What happens to later events of a stream with a dead letter: "skip" applies them; "park-stream" makes them dead letters too, to be
      replayed in order, for read models in which each event builds on the one before.
      """),
    .choice(
      "on_mismatch", \.onMismatch,
      """
      What the shard does when its position and its tables do not seem to belong together: it has no position, and its tables have rows
      or another shard fills them; or it has one, and a table is empty that should hold events. "wait" applies nothing, and `tidemark
      status` says what to do; "continue" begins all the same, for tables with rows that are not made of events, or for statements that may
      be applied twice.
      """),
    .choice(
      "archived", \.archived,
      """
      What becomes of events that the store has archived: "keep" applies them like any other, whenever they were archived, so that live
      and rebuilt rows are equal; "skip" skips those that are archived by the time they are read, and counts them in `tidemark
      status`. Rows of events that were archived later stay until a rebuild, which asks before it removes them. The same holds for pages,
      late arrivals, replayed dead letters and rebuilds.
      """),
    .strings(
      "accept_compacted", \.acceptCompacted, of: "aggregates", example: ["Trip"],
      """
      The aggregates whose compacted streams the projection has nothing to do with. The store compacts a stream by deleting its events and
      leaving one of type Compacted<Trip> with a snapshot. A shard that has not applied those events stops there (TM311), unless the
      projection lists the type in `events` or `on` and sets its rows from the snapshot, or names the aggregate here: the row is then an event
      like any other. Without `events`, a statement that has 'Compacted<Trip>' in quotes lists it too.
      """),
    .optionalString(
      "key", \.key, "the name of a column", example: "id",
      """
      The column, in every table of `tables`, that holds the stream's identifier, for read models in which each row comes from one
      stream. `tidemark rebuild` can then rebuild the rows of single streams (--stream), and divide streams among workers (--workers).
      """),
    .optionalString(
      "tenant_key", \.tenantKey, "the name of a column", example: "tenant_id",
      "The column, in every table of `tables`, that holds the tenant; for `tidemark rebuild --tenant`."),
    .choice(
      "parallel", \.parallel,
      """
      "by-stream" declares that the effect of an event depends only on earlier events of its own stream. `tidemark rebuild --workers` may
      then divide streams among workers, even without a `key`.
      """),
  ]

  private static func start(_ toml: TOMLValue) throws(Mismatch) -> StartPosition {
    switch toml.content {
    case .integer(let sequence) where sequence >= 0: return .sequence(sequence)
    case .time(let time) where time.contains("-"): return .time(time)
    case .string("beginning"): return .beginning
    case .string("present"): return .present
    case .string("inline-handover"): return .inlineHandover
    case .string(let text) where isDate(text): return .time(text)
    case .string(let text):
      throw Mismatch(
        hint: nearestName(to: text, in: ["beginning", "present", "inline-handover"]).map { "did you mean \"\($0)\"?" })
    default: throw Mismatch()
    }
  }

  /// Whether the text begins like `2026-01-31`; PostgreSQL parses the rest.
  private static func isDate(_ text: String) -> Bool {
    let bytes = Array(text.utf8.prefix(10))
    guard bytes.count == 10 else { return false }
    return bytes.indices.allSatisfy { index in
      index == 4 || index == 7
        ? bytes[index] == UInt8(ascii: "-") : (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[index])
    }
  }
}

extension Key where Root == ProjectionDraft {
  static func text(_ path: String, _ value: Path<Root.Text?>, _ form: String, example: String, _ meaning: String) -> Key
  {
    Key(
      path: path, form: form, meaning: meaning, example: TOMLText.string(example),
      decode: { toml, root throws(Mismatch) in
        guard case .string(let text) = toml.content, text.contains(where: { !$0.isWhitespace }) else {
          throw Mismatch()
        }
        root[keyPath: value] = ProjectionDraft.Text(text: text, place: toml.place, firstLine: toml.textLine)
      },
      show: { $0[keyPath: value].map { TOMLText.block($0.text) } })
  }

  static func strings(_ path: String, _ value: Path<[String]?>, of what: String, example: [String], _ meaning: String)
    -> Key
  {
    Key(
      path: path, form: "an array of \(what), like \(TOMLText.strings(example))", meaning: meaning,
      example: TOMLText.strings(example),
      decode: { toml, root throws(Mismatch) in root[keyPath: value] = try Settings.strings(toml) },
      show: { $0[keyPath: value].map(TOMLText.strings) })
  }
}

extension Settings {
  /// An array of at least one string, none empty, no duplicates.
  static func strings(_ toml: TOMLValue) throws(Mismatch) -> [String] {
    guard case .array(let values) = toml.content, !values.isEmpty else { throw Mismatch() }
    var strings: [String] = []
    for value in values {
      switch value.content {
      case .string(let text) where !text.isEmpty && !strings.contains(text): strings.append(text)
      case .string(let text) where !text.isEmpty:
        throw Mismatch(expected: "no duplicates", found: "\"\(text)\" twice")
      case .unusable: break
      default: throw Mismatch()
      }
    }
    return strings
  }
}
