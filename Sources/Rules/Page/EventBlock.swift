/// A run of events as PostgreSQL sent them, in one piece of memory that all readers share.
///
/// Nothing is decoded on the way in: a row stays in the binary format of COPY, and ``EventFields`` finds its columns on demand.
package final class EventBlock: Sendable {
  /// The range in which the block has every event of ``types``.
  package let page: Page
  /// The event types in it; nil for all of them.
  package let types: Set<String>?
  package let leftOut: LeftOut
  /// The rows in its range that stand for compacted events, the first of each type, whatever ``types`` says.
  package let compacted: [CompactedRow]
  /// Of the high-water mark it was read under; a block from an earlier life is not used.
  package let life: Int
  /// Stream ids are 16 bytes, not text.
  package let hasUUIDStreams: Bool

  /// What `tidemark.batch` left out when the block was read, as the server wrote it.
  package struct LeftOut: Hashable, Sendable {
    /// Numbers that the mark had skipped.
    package var passedOver: String
    /// Streams that wait behind a dead letter.
    package var parked: String

    package init(passedOver: String = "", parked: String = "") {
      self.passedOver = passedOver
      self.parked = parked
    }
  }

  package let sequences: [Int64]
  private let bytes: [UInt8]
  /// The start of each row, then the end of the last one.
  private let starts: [Int]

  package var count: Int { sequences.count }
  /// The size in bytes.
  package var size: Int { bytes.count }

  init(
    page: Page, types: Set<String>?, leftOut: LeftOut, compacted: [CompactedRow], life: Int, hasUUIDStreams: Bool,
    sequences: [Int64], bytes: [UInt8], starts: [Int]
  ) {
    self.page = page
    self.types = types
    self.leftOut = leftOut
    self.compacted = compacted
    self.life = life
    self.hasUUIDStreams = hasUUIDStreams
    self.sequences = sequences
    self.bytes = bytes
    self.starts = starts
  }

  /// The memory that ``fields(of:in:)`` reads, valid during the call only.
  package func withBytes<T>(_ body: (UnsafeRawBufferPointer) throws -> T) rethrows -> T {
    try bytes.withUnsafeBytes(body)
  }

  package func fields(of index: Int, in bytes: UnsafeRawBufferPointer) -> EventFields {
    EventFields(row: UnsafeRawBufferPointer(rebasing: bytes[starts[index]..<starts[index + 1]]))
  }

  /// The size of one row in bytes.
  package func size(of index: Int) -> Int { starts[index + 1] - starts[index] }
}

/// Builds a block from the output of `COPY … TO STDOUT (FORMAT binary)`.
package struct EventBlockBuilder {
  /// How many rows the block takes; one row beyond shows that there are more.
  private let rowLimit: Int
  /// How many bytes it takes; it always takes the first event, however large.
  private let byteLimit: Int
  private var bytes: [UInt8] = []
  private var starts = [0]
  private var sequences: [Int64] = []
  /// There were more events than the limits allow.
  package private(set) var isFull = false

  package init(rowLimit: Int, byteLimit: Int) {
    self.rowLimit = rowLimit
    self.byteLimit = byteLimit
  }

  /// "PGCOPY\n\377\r\n\0", flags, and the length of an extension that does not exist yet.
  private static let header = 19

  package enum Wrong: Error { case format }

  /// Takes one message of COPY: a row, after the header if it is the first, or the end.
  ///
  /// Returns false once the limit of bytes is reached, and the server need not send the rest.
  package mutating func take(_ message: UnsafeRawBufferPointer) throws -> Bool {
    var message = message
    if message.count >= Self.header, message.starts(with: "PGCOPY\n".utf8) {
      message = UnsafeRawBufferPointer(rebasing: message[Self.header...])
    }
    // The end is a row of -1 columns.
    guard message.count >= 2, message.loadUnaligned(as: Int16.self).bigEndian >= 0, !isFull else { return true }
    guard message.count >= 14 else { throw Wrong.format }
    if sequences.count >= rowLimit {
      isFull = true
      return true
    }
    if !sequences.isEmpty, bytes.count + message.count > byteLimit {
      isFull = true
      return false
    }
    bytes.append(contentsOf: message)
    starts.append(bytes.count)
    sequences.append(message.loadUnaligned(fromByteOffset: 6, as: Int64.self).bigEndian)
    return true
  }

  /// - Parameter page: the requested one; the block ends lower if there was more than the limits allow.
  package func block(
    _ page: Page, types: Set<String>?, leftOut: EventBlock.LeftOut, compacted: [CompactedRow] = [], life: Int,
    hasUUIDStreams: Bool
  ) -> EventBlock {
    EventBlock(
      page: Page(floor: page.floor, ceiling: isFull ? sequences.last ?? page.ceiling : page.ceiling), types: types,
      leftOut: leftOut, compacted: compacted, life: life, hasUUIDStreams: hasUUIDStreams, sequences: sequences,
      bytes: bytes, starts: starts)
  }
}

/// The columns of one event, as pointers into its row; nil is NULL.
///
/// The order is that of the statement in `EventBlocks`, which reads them.
package struct EventFields {
  package typealias Bytes = UnsafeRawBufferPointer

  package let sequence: Int64
  package let version: Int64
  /// Microseconds since the beginning of the year 2000, UTC.
  package let timestamp: Int64
  package let id: Bytes?
  package let streamID: Bytes?
  package let type: Bytes?
  package let tenantID: Bytes?
  package let causationID: Bytes?
  package let correlationID: Bytes?
  /// JSON text.
  package let headers: Bytes?
  /// JSON text; nil for a binary event.
  package let data: Bytes?

  init(row: Bytes) {
    var offset = 2
    func next() -> Bytes? {
      let length = Int(row.loadUnaligned(fromByteOffset: offset, as: Int32.self).bigEndian)
      offset += 4
      guard length >= 0 else { return nil }
      defer { offset += length }
      return Bytes(rebasing: row[offset..<offset + length])
    }
    func integer() -> Int64 { next().map { $0.loadUnaligned(as: Int64.self).bigEndian } ?? 0 }
    /// A jsonb value: one byte for the version, then the text.
    func json() -> Bytes? { next().map { Bytes(rebasing: $0.dropFirst()) } }
    sequence = integer()
    version = integer()
    timestamp = integer()
    id = next()
    streamID = next()
    type = next()
    tenantID = next()
    causationID = next()
    correlationID = next()
    headers = json()
    data = json()
  }
}
