import Plugins
import Rules
import Testing

@Suite struct `A page of events in memory` {
  private func events(_ sequences: [Int64], types: [String] = ["x"]) -> [CopiedEvent] {
    sequences.enumerated().map { CopiedEvent(sequence: $1, type: types[$0 % types.count]) }
  }

  @Test func `ends at its limit of rows or bytes`() throws {
    let ten = events(Array(1...10))
    #expect(try block(ten, page: Page(floor: 0, ceiling: 100)).page == Page(floor: 0, ceiling: 100))
    let byRows = try block(ten, page: Page(floor: 0, ceiling: 100), rowLimit: 4)
    #expect(byRows.page == Page(floor: 0, ceiling: 4))
    #expect(byRows.sequences == [1, 2, 3, 4])
    let byBytes = try block(ten, page: Page(floor: 0, ceiling: 100), byteLimit: ten[0].row.count * 3)
    #expect(byBytes.page == Page(floor: 0, ceiling: 3))
  }

  @Test func `always contains its first event, regardless of size`() throws {
    let block = try block(events([7, 8]), page: Page(floor: 0, ceiling: 9), byteLimit: 1)
    #expect(block.sequences == [7])
    #expect(block.page == Page(floor: 0, ceiling: 7))
  }

  @Test func `may be empty`() throws {
    let slice = try slice([], page: Page(floor: 3, ceiling: 9))
    #expect(slice.count == 0 && slice.page == Page(floor: 3, ceiling: 9))
    #expect(lines(slice) == "")
  }

  @Test func `shows a shard the types it takes`() throws {
    let block = try block(events([1, 2, 3, 4, 5, 6], types: ["a", "b", "ab"]), page: Page(floor: 0, ceiling: 6))
    #expect(EventSlice(block, types: nil).count == 6)
    let slice = EventSlice(block, types: ["a", "ab"])
    #expect(slice.indices.map { block.sequences[$0] } == [1, 3, 4, 6])
    #expect(EventSlice(block, types: ["none"]).count == 0)
  }

  @Test func `is cut before and after an event`() throws {
    let slice = try slice(events([2, 4, 6, 8]), page: Page(floor: 0, ceiling: 10))
    #expect(slice.prefix(2).page == Page(floor: 0, ceiling: 4))
    #expect(slice.prefix(4).page == Page(floor: 0, ceiling: 10))
    #expect(slice.prefix(9).count == 4)
    #expect(slice.before(6).page == Page(floor: 0, ceiling: 5))
    #expect(slice.before(6).count == 2)
    #expect(slice.before(2).count == 0)
    #expect(slice.after(6)?.page == Page(floor: 6, ceiling: 10))
    #expect(slice.after(6)?.count == 1)
    #expect(slice.after(8)?.count == 0)
    #expect(slice.after(10) == nil)
    #expect(slice.after(4)?.before(8).indices.map { slice.block.sequences[$0] } == [6])
    #expect(slice.contains(6) && !slice.contains(5) && !slice.contains(0) && !slice.contains(99))
  }
}
