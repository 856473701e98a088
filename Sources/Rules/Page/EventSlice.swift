/// The part of a block that one plugin gets as a page: a run of its events, of the types that the shard takes.
package struct EventSlice: Sendable {
  package let block: EventBlock
  /// The range of sequences it covers; the position after it is the ceiling.
  package let page: Page
  /// Indexes in the block, in order.
  package let indices: ArraySlice<Int>

  package var count: Int { indices.count }

  /// All events of the block that a shard takes.
  package init(_ block: EventBlock, types: [String]?) {
    self.block = block
    page = block.page
    guard let types, block.types != Set(types) else {
      indices = Array(block.sequences.indices)[...]
      return
    }
    let taken = types.map { Array($0.utf8) }
    indices =
      block.withBytes { bytes in
        block.sequences.indices.filter { index in
          guard let type = block.fields(of: index, in: bytes).type else { return false }
          return taken.contains { $0.count == type.count && $0.elementsEqual(type) }
        }
      }[...]
  }

  private init(_ block: EventBlock, _ page: Page, _ indices: ArraySlice<Int>) {
    self.block = block
    self.page = page
    self.indices = indices
  }

  package func contains(_ sequence: Int64) -> Bool { place(of: sequence) != nil }

  /// The event at the front.
  package var firstSequence: Int64? { indices.first.map { block.sequences[$0] } }

  /// The type of the event at the front.
  package var firstType: String? {
    guard let first = indices.first else { return nil }
    return block.withBytes { bytes in
      block.fields(of: first, in: bytes).type.map { String(decoding: $0, as: UTF8.self) }
    }
  }

  /// The first event whose data is NULL: a binary one.
  package var firstWithoutData: Int64? {
    block.withBytes { bytes in
      indices.first { block.fields(of: $0, in: bytes).data == nil }.map { block.sequences[$0] }
    }
  }

  /// The size in bytes of the event at the front.
  package var firstSize: Int { indices.first.map(block.size(of:)) ?? 0 }

  /// At most `count` events from the front. The page ends with the last of them, or stays as it is if that is all.
  package func prefix(_ count: Int) -> EventSlice {
    guard count < self.count, let last = indices.prefix(count).last else { return self }
    return EventSlice(block, Page(floor: page.floor, ceiling: block.sequences[last]), indices.prefix(count))
  }

  /// The part before an event of the slice.
  package func before(_ sequence: Int64) -> EventSlice {
    let end = place(of: sequence) ?? indices.endIndex
    return EventSlice(block, Page(floor: page.floor, ceiling: sequence - 1), indices[..<end])
  }

  /// The part up to a sequence of its page, whether an event has it or not.
  package func through(_ sequence: Int64) -> EventSlice {
    EventSlice(
      block, Page(floor: page.floor, ceiling: sequence), indices.prefix { block.sequences[$0] <= sequence })
  }

  /// The first row in it that stands for compacted events, but for the types that may be passed.
  package func compacted(besides passable: [String]) -> CompactedRow? {
    block.compacted
      .filter { $0.sequence > page.floor && $0.sequence <= page.ceiling && !passable.contains($0.type) }
      .min { $0.sequence < $1.sequence }
  }

  /// The part after a sequence; nil if nothing is left.
  package func after(_ sequence: Int64) -> EventSlice? {
    guard sequence >= page.floor, sequence < page.ceiling else { return nil }
    let rest = indices.drop { block.sequences[$0] <= sequence }
    return EventSlice(block, Page(floor: sequence, ceiling: page.ceiling), rest)
  }

  private func place(of sequence: Int64) -> Int? {
    let places = indices
    var (low, high) = (places.startIndex, places.endIndex)
    while low < high {
      let middle = (low + high) / 2
      if block.sequences[places[middle]] < sequence { low = middle + 1 } else { high = middle }
    }
    return low < places.endIndex && block.sequences[places[low]] == sequence ? low : nil
  }
}
