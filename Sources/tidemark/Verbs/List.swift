import Commands
import Daemon
import EventStore
import Postgres
import Rules
import Settings

struct List {
  static let verb = Verb(
    "list", about: "List the projections of the settings file, and shards that only the database knows.",
    discussion: """
      Each is listed with its position. A shard that is not in the settings belongs to an older version of a projection, or to one that was
      removed; `tidemark forget` deletes its position, and `tidemark move` gives it to a new name. If the database is unreachable, only the settings file is listed.
      """,
    options: SettingsOption.options + [offline, OutputOption.json]
  ) { try await List(line: $0).run() }

  static let offline: Option<Bool> = .flag("offline", "List the settings file only; do not connect.")

  let line: ParsedLine

  private struct Item: Encodable {
    var shard: String
    var projection: String
    var version: Int
    var form: String?
    var events: [String]?
    var tables: [String]
    var source: String?
    var position: Int64?
    var declared: Bool
  }

  func run() async throws {
    let settings = try SettingsOption(line).load()
    // Each database has its own positions, so they are listed only for a database that was named.
    let positions = line[Self.offline] || !settings.namedDatabases.isEmpty ? nil : await positions(settings)
    var items = settings.projections.map { projection in
      let form =
        switch projection.effect {
        case .batch: "sql"
        case .perEvent: "on"
        case .plugin(let plugin): plugin.form
        }
      return Item(
        shard: "\(projection.shard)", projection: projection.name, version: projection.version, form: form,
        events: projection.takes, tables: projection.tables, source: "\(projection.source)",
        position: positions?["\(projection.shard)"], declared: true)
    }
    let declared = Set(items.map(\.shard))
    for (name, position) in (positions ?? [:]).sorted(by: { $0.key < $1.key }) where !declared.contains(name) {
      let parsed = ShardName(parsing: name)
      items.append(
        Item(
          shard: name, projection: parsed?.projection ?? name, version: parsed?.version ?? 1, tables: [],
          position: position, declared: false))
    }
    if line[OutputOption.json] {
      printResult(try tidemark.json(items))
      return
    }
    var table = TextTable([
      ("SHARD", .left), ("POSITION", .right), ("FORM", .left), ("EVENTS", .left), ("TABLES", .left),
      ("DECLARED AT", .left),
    ])
    for item in items {
      table.add([
        item.shard, item.position.map(grouped) ?? "-", item.form ?? "-",
        item.declared ? item.events?.joined(separator: ",") ?? "all" : "-", item.tables.joined(separator: ","),
        item.source ?? "only in the database",
      ])
    }
    printResult(table.text)
  }

  /// Every shard's position; nil if the database cannot be read.
  private func positions(_ settings: Settings) async -> [String: Int64]? {
    do {
      return try await withSession(settings) { session in
        let shape = try await StoreShape.read(session, schema: settings.eventStore.schema)
        return shape.hasProgression ? try await Positions(shape).all(session) : [:]
      }
    } catch {
      printError(printable("\(error)"))
      return nil
    }
  }
}
