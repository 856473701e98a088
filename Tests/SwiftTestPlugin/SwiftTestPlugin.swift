import TidemarkPlugin

/// Answers with a statement for each event; `bad` in the data fails, and a config of `refuse` refuses.
final class Summing: Plugin {
  private let log: Log

  init(_ opening: Opening) throws {
    if opening.config == "refuse" { throw Refusal() }
    log = opening.log
    log(.notice, "opened for \(opening.shard) at \(opening.position) in \(opening.mode) mode with \(opening.config)")
  }

  struct Refusal: Error, CustomStringConvertible { var description: String { "no licence" } }

  func apply(_ page: Page) throws {
    for event in page {
      let data = String(decoding: event.data, as: UTF8.self)
      if data.contains("bad") { throw EventFailed(event.sequence, .event, "bad data") }
      page.sql(
        "INSERT INTO copied (seq, stream, type, tenant, data, at) VALUES ($1, $2, $3, $4, $5, to_timestamp($6 / 1e6))",
        ["\(event.sequence)", event.streamID, event.type, event.tenantID, data, "\(event.timestamp)"])
    }
  }

  deinit { log(.notice, "closed") }
}

@_cdecl("tidemark_plugin_main")
public func main() -> UnsafeRawPointer { export(Summing.self) }
