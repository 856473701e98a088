import Rules
import Testing

@Suite struct `Numbers that nobody drew` {
  private func look(
    _ numbers: ClosedRange<Int64> = 1...20, without gaps: [ClosedRange<Int64>], positions: [String: Int64] = [:]
  ) -> PassedNumbers {
    PassedNumbers(numbers: numbers, gaps: gaps, positions: positions)
  }

  private func found(_ before: PassedNumbers, _ now: PassedNumbers) -> [ClosedRange<Int64>] {
    now.undrawn(since: before).map(\.numbers)
  }

  @Test(
    arguments: [
      // Nothing came; a gap is gone; its middle came; its ends came; two came.
      ([5...9], [5...9], []),
      ([5...9], [], [5...9]),
      ([5...9], [5...6, 8...9], [7...7]),
      ([5...9], [6...8], [5...5, 9...9]),
      ([2...3, 8...8], [3...3], [2...2, 8...8]),
      // Rows were removed, which makes new gaps; one of them is filled later, not now.
      ([5...5], [5...5, 8...9], []),
      ([5...5, 8...9], [5...5], [8...9]),
    ] as [([ClosedRange<Int64>], [ClosedRange<Int64>], [ClosedRange<Int64>])])
  func `are those that had no event at one look, and have one at the next`(
    before: [ClosedRange<Int64>], now: [ClosedRange<Int64>], undrawn: [ClosedRange<Int64>]
  ) {
    #expect(found(look(without: before), look(without: now)) == undrawn)
  }

  @Test func `are not those that a look does not cover`() {
    // The window has moved up, and down after a session that proved more.
    #expect(found(look(1...20, without: [2...4]), look(4...24, without: [])) == [4...4])
    #expect(found(look(1...20, without: [2...4, 15...20]), look(1...16, without: [])) == [2...4, 15...16])
    #expect(found(look(1...20, without: []), look(1...40, without: [])) == [])
  }

  @Test func `are missed by shards that were past them, and perhaps by those that passed them since`() {
    let before = look(without: [5...9], positions: ["behind": 4, "inside": 6, "moves": 4, "past": 9, "idle": 20])
    let now = look(without: [], positions: ["behind": 4, "inside": 6, "moves": 20, "past": 9, "idle": 20, "new": 8])
    let undrawn = now.undrawn(since: before)
    #expect(undrawn.map(\.numbers) == [5...6, 7...8, 9...9])
    #expect(undrawn.map(\.missedBy) == [["inside", "past", "idle"], ["past", "idle"], ["past", "idle"]])
    #expect(undrawn.map(\.perhapsMissedBy) == [["moves", "new"], ["moves", "new"], ["moves"]])
  }
}
