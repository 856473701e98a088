package import Rules

/// The lines sent to a plugin, apart from events.
package enum PluginLines {
  package enum Mode: String, Sendable { case continuous, rebuild }

  package static func hello(shard: String, database: String, mode: Mode, position: Int64) -> [UInt8] {
    line(
      """
      {"hello":{"protocol":\(PluginLimits.protocolVersion),"shard":\(quoted(shard)),"database":\(quoted(database)),\
      "mode":"\(mode.rawValue)","position":\(position)}}
      """)
  }

  package static func page(_ page: Page, count: Int) -> [UInt8] {
    line("{\"page\":{\"floor\":\(page.floor),\"ceiling\":\(page.ceiling),\"count\":\(count)}}")
  }

  private static func line(_ text: String) -> [UInt8] { Array("\(text)\n".utf8) }

  /// As a JSON string.
  private static func quoted(_ text: String) -> String {
    "\""
      + text.unicodeScalars.reduce(into: "") { quoted, scalar in
        switch scalar {
        case "\"", "\\": quoted += "\\\(scalar)"
        case "\0"..."\u{1F}": quoted += "\\u00\(scalar.value < 16 ? "0" : "")\(String(scalar.value, radix: 16))"
        default: quoted.unicodeScalars.append(scalar)
        }
      } + "\""
  }
}
