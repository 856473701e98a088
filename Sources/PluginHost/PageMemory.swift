import CTidemarkPlugin
import Plugins
import Rules

/// The memory of one page as a library reads it: a table of events whose texts point into the page itself.
///
/// Only identifiers are converted to text, since PostgreSQL sends them as 16 bytes. The next page reuses the memory.
struct PageMemory: ~Copyable {
  private var events = UnsafeMutablePointer<tidemark_event>.allocate(capacity: 0)
  private var identifiers = UnsafeMutableRawPointer.allocate(byteCount: 0, alignment: 16)
  private var capacity = 0

  deinit {
    events.deallocate()
    identifiers.deallocate()
  }

  mutating func withPage<T>(_ slice: EventSlice, _ body: (UnsafePointer<tidemark_page>) -> T) -> T {
    reserve(slice.count)
    let block = slice.block
    return block.withBytes { bytes in
      var end = identifiers
      for (place, index) in slice.indices.enumerated() {
        let fields = block.fields(of: index, in: bytes)
        (events + place).initialize(to: event(fields, block.hasUUIDStreams, &end))
      }
      var page = tidemark_page(
        floor: slice.page.floor, ceiling: slice.page.ceiling, count: slice.count, events: UnsafePointer(events))
      return body(&page)
    }
  }

  private func event(_ fields: EventFields, _ hasUUIDStreams: Bool, _ end: inout UnsafeMutableRawPointer)
    -> tidemark_event
  {
    func identifier(_ bytes: UnsafeRawBufferPointer?) -> tidemark_text {
      guard let bytes, bytes.count == 16 else { return tidemark_text() }
      let start = end
      end = EventText.uuid(bytes, at: start)
      return tidemark_text(
        bytes: UnsafePointer(start.assumingMemoryBound(to: CChar.self)), length: EventText.uuidBytes)
    }
    return tidemark_event(
      seq_id: fields.sequence, version: fields.version, timestamp_us: EventText.unixTime(fields.timestamp),
      id: identifier(fields.id), stream_id: hasUUIDStreams ? identifier(fields.streamID) : text(fields.streamID),
      type: text(fields.type), tenant_id: text(fields.tenantID), causation_id: text(fields.causationID),
      correlation_id: text(fields.correlationID), headers: text(fields.headers), data: text(fields.data))
  }

  private func text(_ bytes: UnsafeRawBufferPointer?) -> tidemark_text {
    guard let bytes else { return tidemark_text() }
    return tidemark_text(bytes: bytes.baseAddress?.assumingMemoryBound(to: CChar.self), length: bytes.count)
  }

  private mutating func reserve(_ count: Int) {
    guard count > capacity else { return }
    events.deallocate()
    identifiers.deallocate()
    events = .allocate(capacity: count)
    identifiers = .allocate(byteCount: count * 2 * EventText.uuidBytes, alignment: 16)
    capacity = count
  }
}
