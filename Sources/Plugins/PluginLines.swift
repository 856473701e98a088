package import Projection

/// The lines that a plugin is sent, apart from events.
package enum PluginLines {
  package enum Mode: String, Sendable { case continuous, rebuild }

  package static func hello(shard: String, database: String, mode: Mode, position: Int64) -> [UInt8] {
    var line = JSONText()
    line.raw("{\"hello\":{\"protocol\":\(PluginLimits.protocolVersion),\"shard\":")
    line.string(shard)
    line.raw(",\"database\":")
    line.string(database)
    line.raw(",\"mode\":\"\(mode.rawValue)\",\"position\":\(position)}}\n")
    return line.bytes
  }

  package static func page(_ page: Page, count: Int) -> [UInt8] {
    Array("{\"page\":{\"floor\":\(page.floor),\"ceiling\":\(page.ceiling),\"count\":\(count)}}\n".utf8)
  }
}

/// JSON as it is written, byte by byte.
struct JSONText {
  var bytes: [UInt8] = []

  mutating func raw(_ text: StaticString) {
    bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  @_disfavoredOverload
  mutating func raw(_ text: String) { bytes.append(contentsOf: text.utf8) }

  mutating func raw(_ text: some Collection<UInt8>) { bytes.append(contentsOf: text) }

  mutating func string(_ text: String) {
    var text = text
    text.withUTF8 { string(UnsafeRawBufferPointer($0)) }
  }

  /// UTF-8 as a JSON string, quoted.
  mutating func string(_ text: UnsafeRawBufferPointer) {
    bytes.append(UInt8(ascii: "\""))
    if text.contains(where: { $0 < 0x20 || $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") }) {
      for byte in text { escaped(byte) }
    } else {
      bytes.append(contentsOf: text)
    }
    bytes.append(UInt8(ascii: "\""))
  }

  private mutating func escaped(_ byte: UInt8) {
    switch byte {
    case UInt8(ascii: "\""): raw("\\\"")
    case UInt8(ascii: "\\"): raw("\\\\")
    case UInt8(ascii: "\n"): raw("\\n")
    case UInt8(ascii: "\t"): raw("\\t")
    case UInt8(ascii: "\r"): raw("\\r")
    case 0..<0x20:
      raw("\\u00")
      hex(byte)
    default: bytes.append(byte)
    }
  }

  mutating func hex(_ byte: UInt8) {
    bytes.append(Self.digits[Int(byte >> 4)])
    bytes.append(Self.digits[Int(byte & 15)])
  }

  private static let digits = Array("0123456789abcdef".utf8)
}
