import CTidemarkPlugin

/// The events of one page, in order. Valid until `apply` returns.
public struct Page: RandomAccessCollection {
  let page: UnsafePointer<tidemark_page>
  let host: UnsafePointer<tidemark_host>

  /// The position before the page.
  public var floor: Int64 { page.pointee.floor }
  /// The position after the page.
  public var ceiling: Int64 { page.pointee.ceiling }

  public var startIndex: Int { 0 }
  public var endIndex: Int { page.pointee.count }
  public subscript(index: Int) -> Event {
    precondition(indices.contains(index), "event \(index) of \(count)")
    return Event(event: page.pointee.events + index)
  }

  /// With `effects = "database"`: adds a statement to the answer, applied in one transaction with the position. The
  /// values are `$1`, `$2`…
  public func sql(_ text: String, _ values: [String?] = []) {
    var pieces: [[UInt8]?] = values.map { $0.map { Array($0.utf8) } }
    pieces.append(Array(text.utf8))
    let storage = Array(pieces.compactMap { $0 }.joined()) + [0]
    storage.withUnsafeBytes { bytes in
      var offset = 0
      let texts = pieces.map { piece -> tidemark_text in
        guard let piece else { return tidemark_text() }
        defer { offset += piece.count }
        return tidemark_text(
          bytes: (bytes.baseAddress! + offset).assumingMemoryBound(to: CChar.self), length: piece.count)
      }
      texts.withUnsafeBufferPointer {
        host.pointee.sql(host.pointee.context, texts.last!, $0.baseAddress, values.count)
      }
    }
  }
}

/// One event. Valid until `apply` returns. A `String` is a copy; a buffer of bytes is not.
public struct Event {
  let event: UnsafePointer<tidemark_event>

  /// The event's number in the whole store; it identifies an event that is delivered again.
  public var sequence: Int64 { event.pointee.seq_id }
  /// The event's number in its stream, from 1.
  public var version: Int64 { event.pointee.version }
  /// Microseconds since 1970, UTC; `Int64.max` and `Int64.min` are PostgreSQL's infinities.
  public var timestamp: Int64 { event.pointee.timestamp_us }
  public var id: String { event.pointee.id.string ?? "" }
  public var streamID: String? { event.pointee.stream_id.string }
  public var type: String { event.pointee.type.string ?? "" }
  public var tenantID: String? { event.pointee.tenant_id.string }
  public var causationID: String? { event.pointee.causation_id.string }
  public var correlationID: String? { event.pointee.correlation_id.string }
  /// JSON, as PostgreSQL writes it.
  public var headers: UnsafeRawBufferPointer? { event.pointee.headers.buffer }
  /// JSON, as PostgreSQL writes it.
  public var data: UnsafeRawBufferPointer { event.pointee.data.buffer ?? UnsafeRawBufferPointer(start: nil, count: 0) }
}

/// Writes to the daemon's log; each entry carries the shard's name.
public struct Log: @unchecked Sendable {
  /// The level of an entry; the setting `log.level` is the lowest that is logged.
  public enum Level: UInt32, Sendable { case debug = 0, info, notice, warning, error }

  let host: tidemark_host

  public func callAsFunction(_ level: Level, _ message: String) {
    message.withText { host.log(host.context, tidemark_level(rawValue: level.rawValue), $0) }
  }
}

extension tidemark_text {
  var buffer: UnsafeRawBufferPointer? { bytes.map { UnsafeRawBufferPointer(start: $0, count: length) } }
  var string: String? { buffer.map { String(decoding: $0, as: UTF8.self) } }
}

extension String {
  func withText<T>(_ body: (tidemark_text) -> T) -> T {
    var copy = self
    return copy.withUTF8 { bytes in
      bytes.withMemoryRebound(to: CChar.self) { body(tidemark_text(bytes: $0.baseAddress, length: $0.count)) }
    }
  }
}
