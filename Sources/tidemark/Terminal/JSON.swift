import FoundationEssentials
import Rules

/// JSON for scripts: indented, with sorted keys.
func json(_ value: some Encodable) throws -> String {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
  return escaped(String(decoding: try encoder.encode(value), as: UTF8.self))
}

/// JSON escapes the first 32 controls; the others that act on a terminal can only stand in its strings, where they may be escaped too.
private func escaped(_ json: String) -> String {
  json.unicodeScalars.reduce(into: "") { result, scalar in
    if scalar.isPrintable || scalar == "\n" {
      result.unicodeScalars.append(scalar)
    } else {
      let digits = String(scalar.value, radix: 16)
      result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
    }
  }
}
