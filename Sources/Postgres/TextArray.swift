/// Reads a one-dimensional array of texts as PostgreSQL writes it: `{a,"b, c","",NULL}`.
///
/// A list that travels as one text with a separator loses the empty text, and splits a text that contains the separator. Streams and tenants
/// may have both as their identifiers.
extension Array: PostgresDecodable where Element == String {
  package static func decode(_ bytes: UnsafeBufferPointer<UInt8>?) -> [String]? {
    guard let bytes, bytes.first == UInt8(ascii: "{"), bytes.last == UInt8(ascii: "}"), bytes.count >= 2 else {
      return nil
    }
    var reader = TextArrayReader(bytes[1..<bytes.count - 1])
    return reader.elements()
  }
}

private struct TextArrayReader {
  private var rest: Slice<UnsafeBufferPointer<UInt8>>

  init(_ content: Slice<UnsafeBufferPointer<UInt8>>) { rest = content }

  /// Nil if an element is NULL, or the text is not such an array.
  mutating func elements() -> [String]? {
    var elements: [String] = []
    guard !rest.isEmpty else { return elements }
    while let element = element() {
      elements.append(element)
      guard let next = rest.popFirst() else { return elements }
      guard next == UInt8(ascii: ",") else { return nil }
    }
    return nil
  }

  private mutating func element() -> String? {
    guard rest.first == UInt8(ascii: "\"") else {
      let plain = rest.prefix { $0 != UInt8(ascii: ",") }
      rest = rest.dropFirst(plain.count)
      let text = String(decoding: plain, as: UTF8.self)
      // An empty text is always quoted, and so is one with braces, and the text NULL.
      let isElement = !text.isEmpty && text.uppercased() != "NULL" && !text.contains { "{}".contains($0) }
      return isElement ? text : nil
    }
    rest.removeFirst()
    var quoted: [UInt8] = []
    while let byte = rest.popFirst() {
      switch byte {
      case UInt8(ascii: "\""): return String(decoding: quoted, as: UTF8.self)
      case UInt8(ascii: "\\"):
        guard let escaped = rest.popFirst() else { return nil }
        quoted.append(escaped)
      default: quoted.append(byte)
      }
    }
    return nil
  }
}
