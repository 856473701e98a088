package import Rules

/// Produces the event lines of a page in pieces, so that memory never holds a second copy of the page.
///
/// `data` and `headers` are JSON text as PostgreSQL wrote it, passed through unchanged.
package struct EventLines {
  /// The approximate size of a piece.
  private static let pieceBytes = 256 << 10
  /// `data` larger than this is sent in separate pieces.
  private static let largeData = 64 << 10

  private let slice: EventSlice
  private var next: Int
  /// The bytes of the next event's `data` that have been sent; nil if its line has not begun.
  private var sent: Int?

  package init(_ slice: EventSlice) {
    self.slice = slice
    next = slice.indices.startIndex
  }

  package var isAtEnd: Bool { next == slice.indices.endIndex }

  /// The next piece: as many whole lines as fit, or part of a line that does not fit; nil after the last.
  package mutating func piece() -> [UInt8]? {
    guard !isAtEnd else { return nil }
    let block = slice.block
    return block.withBytes { memory in
      if let sent {
        let data = block.fields(of: slice.indices[next], in: memory).data!
        let part = UnsafeRawBufferPointer(rebasing: data[sent..<min(sent + Self.pieceBytes, data.count)])
        self.sent = sent + part.count
        guard sent + part.count == data.count else { return Array(part) }
        self.sent = nil
        next += 1
        return Array(part) + Array("}\n".utf8)
      }
      return lines(block, memory)
    }
  }

  private mutating func lines(_ block: EventBlock, _ memory: UnsafeRawBufferPointer) -> [UInt8] {
    let first = bound(block, memory, next)
    let capacity = max(Self.pieceBytes, first)
    return Array(unsafeUninitializedCapacity: capacity) { buffer, count in
      var cursor = Cursor(at: UnsafeMutableRawPointer(buffer.baseAddress!))
      while !isAtEnd {
        let used = UnsafeMutableRawPointer(buffer.baseAddress!).distance(to: cursor.at)
        guard used + bound(block, memory, next) <= capacity else { break }
        let fields = block.fields(of: slice.indices[next], in: memory)
        cursor.beginLine(fields, hasUUIDStreams: block.hasUUIDStreams)
        if let data = fields.data, data.count > Self.largeData {
          sent = 0
          break
        }
        cursor.json(fields.data)
        cursor.raw("}\n")
        next += 1
      }
      count = UnsafeMutableRawPointer(buffer.baseAddress!).distance(to: cursor.at)
    }
  }

  /// The most bytes an event's line can take, without `data` that is sent separately: every byte of text escaped.
  private func bound(_ block: EventBlock, _ memory: UnsafeRawBufferPointer, _ place: Int) -> Int {
    let size = block.size(of: slice.indices[place])
    // Six bytes for each is far more than needed, but counting only the text would cost more than the memory.
    if size < 4_096 { return size * 6 + 512 }
    let fields = block.fields(of: slice.indices[place], in: memory)
    let data = fields.data?.count ?? 0
    return (size - data) * 6 + (data > Self.largeData ? 0 : data) + 512
  }
}

/// Writes into memory that the caller has made large enough.
private struct Cursor {
  var at: UnsafeMutableRawPointer

  mutating func beginLine(_ fields: EventFields, hasUUIDStreams: Bool) {
    raw("{\"seq_id\":")
    integer(fields.sequence)
    raw(",\"id\":")
    uuid(fields.id)
    raw(",\"stream_id\":")
    if hasUUIDStreams { uuid(fields.streamID) } else { text(fields.streamID) }
    raw(",\"version\":")
    integer(fields.version)
    raw(",\"type\":")
    text(fields.type)
    raw(",\"timestamp\":\"")
    time(fields.timestamp)
    raw("\",\"tenant_id\":")
    text(fields.tenantID)
    if fields.causationID != nil {
      raw(",\"causation_id\":")
      text(fields.causationID)
    }
    if fields.correlationID != nil {
      raw(",\"correlation_id\":")
      text(fields.correlationID)
    }
    raw(",\"headers\":")
    json(fields.headers)
    raw(",\"data\":")
  }

  mutating func raw(_ text: StaticString) {
    at.copyMemory(from: text.utf8Start, byteCount: text.utf8CodeUnitCount)
    at += text.utf8CodeUnitCount
  }

  mutating func json(_ bytes: UnsafeRawBufferPointer?) {
    guard let bytes, let start = bytes.baseAddress else { return raw("null") }
    at.copyMemory(from: start, byteCount: bytes.count)
    at += bytes.count
  }

  mutating func text(_ bytes: UnsafeRawBufferPointer?) {
    guard let bytes else { return raw("null") }
    byte(UInt8(ascii: "\""))
    for value in bytes {
      if value >= 0x20, value != UInt8(ascii: "\""), value != UInt8(ascii: "\\") { byte(value) } else { escaped(value) }
    }
    byte(UInt8(ascii: "\""))
  }

  private mutating func escaped(_ value: UInt8) {
    switch value {
    case UInt8(ascii: "\""): raw("\\\"")
    case UInt8(ascii: "\\"): raw("\\\\")
    case UInt8(ascii: "\n"): raw("\\n")
    case UInt8(ascii: "\t"): raw("\\t")
    case UInt8(ascii: "\r"): raw("\\r")
    default:
      raw("\\u00")
      hex(value)
    }
  }

  mutating func uuid(_ bytes: UnsafeRawBufferPointer?) {
    guard let bytes, bytes.count == 16 else { return raw("null") }
    byte(UInt8(ascii: "\""))
    at = EventText.uuid(bytes, at: at)
    byte(UInt8(ascii: "\""))
  }

  mutating func time(_ microseconds: Int64) { at = EventText.time(microseconds, at: at) }

  mutating func integer(_ value: Int64) {
    if value < 0 { byte(UInt8(ascii: "-")) }
    var rest = value.magnitude
    var count = 1
    var power = rest
    while power >= 10 {
      power /= 10
      count += 1
    }
    for place in (0..<count).reversed() {
      at.storeBytes(of: UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10), toByteOffset: place, as: UInt8.self)
      rest /= 10
    }
    at += count
  }

  private mutating func hex(_ value: UInt8) { at = EventText.hex(value, at: at) }

  private mutating func byte(_ value: UInt8) {
    at.storeBytes(of: value, as: UInt8.self)
    at += 1
  }
}
