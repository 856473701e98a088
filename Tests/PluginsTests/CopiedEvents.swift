import Plugins
import Rules

/// One event as a test declares it.
struct CopiedEvent {
  var sequence: Int64
  var version: Int64 = 1
  /// Microseconds since 2000.
  var timestamp: Int64 = 0
  var id: [UInt8]? = Array(0..<16)
  var streamID: [UInt8]? = Array(repeating: 0xAB, count: 16)
  var type: String? = "x"
  var tenantID: String?
  var causationID: String?
  var correlationID: String?
  var headers: String?
  var data: String? = "{}"

  /// The row as `COPY … (FORMAT binary)` sends it.
  var row: [UInt8] {
    func field(_ bytes: [UInt8]?) -> [UInt8] {
      guard let bytes else { return big(Int32(-1)) }
      return big(Int32(bytes.count)) + bytes
    }
    func text(_ text: String?) -> [UInt8] { field(text.map { Array($0.utf8) }) }
    func json(_ text: String?) -> [UInt8] { field(text.map { [1] + Array($0.utf8) }) }
    return big(Int16(11)) + field(big(sequence)) + field(big(version)) + field(big(timestamp)) + field(id)
      + field(streamID) + text(type) + text(tenantID) + text(causationID) + text(correlationID) + json(headers)
      + json(data)
  }
}

private func big<T: FixedWidthInteger>(_ value: T) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }

private let header: [UInt8] = Array("PGCOPY\n".utf8) + [0xFF, 13, 10, 0] + Array(repeating: 0, count: 8)

/// A block as the server would send it, with header and trailer.
func block(
  _ events: [CopiedEvent], page: Page? = nil, rowLimit: Int = 1_000, byteLimit: Int = 1 << 30,
  types: Set<String>? = nil,
  hasUUIDStreams: Bool = true
) throws -> EventBlock {
  var builder = EventBlockBuilder(rowLimit: rowLimit, byteLimit: byteLimit)
  var messages = events.map(\.row) + [[0xFF, 0xFF]]
  messages[0] = header + messages[0]
  for message in messages {
    guard try message.withUnsafeBytes({ try builder.take($0) }) else { break }
  }
  let page = page ?? Page(floor: 0, ceiling: events.last?.sequence ?? 0)
  return builder.block(
    page, types: types, leftOut: EventBlock.LeftOut(), life: 0, hasUUIDStreams: hasUUIDStreams)
}

func slice(_ events: [CopiedEvent], page: Page? = nil) throws -> EventSlice {
  EventSlice(try block(events, page: page), types: nil)
}

/// The lines that a plugin would read.
func lines(_ slice: EventSlice) -> String {
  var lines = EventLines(slice)
  var bytes: [UInt8] = []
  while let piece = lines.piece() { bytes += piece }
  return String(decoding: bytes, as: UTF8.self)
}
