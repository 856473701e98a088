import ArgumentParser
import Projection
import Settings

struct List: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List the projections of the settings file; does not ask the database.")

  @OptionGroup var settings: SettingsOption

  @Flag(help: "Print JSON.")
  var json = false

  private struct Item: Encodable {
    var shard: String
    var projection: String
    var version: Int
    var form: String
    var events: [String]?
    var tables: [String]
    var source: String
  }

  func run() throws {
    let items = try settings.load().projections.map { projection in
      let form =
        switch projection.effect {
        case .batch: "sql"
        case .perEvent: "on"
        }
      return Item(
        shard: "\(projection.shard)", projection: projection.name, version: projection.version, form: form,
        events: projection.takes, tables: projection.tables, source: "\(projection.source)")
    }
    if json {
      print(try tidemark.json(items))
      return
    }
    var table = TextTable([
      ("SHARD", .left), ("FORM", .left), ("EVENTS", .left), ("TABLES", .left), ("DECLARED AT", .left),
    ])
    for item in items {
      table.add([
        item.shard, item.form, item.events?.joined(separator: ",") ?? "all", item.tables.joined(separator: ","),
        item.source,
      ])
    }
    print(table.text)
  }
}
