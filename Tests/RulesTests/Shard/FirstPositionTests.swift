import Rules
import Testing

@Suite struct `Where a projection begins` {
  /// What is to be found where a rule looks.
  struct Store: Sendable {
    var mark: Int64 = 50
    var before: Int64?
    var handedOut: Int64 = 60
    var first: Int64?
  }

  private func found(_ rule: FirstPosition, in store: Store) -> (after: Int64?, asked: [FirstPosition.Command]) {
    var rule = rule
    var command = rule.begin()
    var asked: [FirstPosition.Command] = []
    while asked.count < 5 {
      switch command {
      case .begin(let position): return (position, asked)
      case .refuse: return (nil, asked)
      case .readMark:
        asked.append(command)
        command = rule.markRead(store.mark)
      case .find:
        asked.append(command)
        command = rule.found(store.before)
      case .awaitRest:
        asked.append(command)
        command = rule.atRest(store.handedOut)
      case .recall:
        asked.append(command)
        command = rule.recalled(store.first)
      }
    }
    return (nil, asked)
  }

  @Test(
    arguments: [
      (.beginning, Store(), 0, []), (.sequence(70), Store(), 70, []), (.present, Store(), 50, [.readMark]),
      (.time("noon"), Store(before: 30), 30, [.readMark, .find(time: "noon")]),
      // Beyond the mark an event may still come that is older.
      (.time("noon"), Store(before: 80), 50, [.readMark, .find(time: "noon")]),
      (.time("noon"), Store(before: nil), 50, [.readMark, .find(time: "noon")]),
      (.inlineHandover, Store(), 60, [.awaitRest]),
    ] as [(StartPosition, Store, Int64, [FirstPosition.Command])])
  func `for the first time`(start: StartPosition, store: Store, after: Int64, asked: [FirstPosition.Command]) {
    let found = found(FirstPosition(ofNew: start), in: store)
    #expect(found.after == after && found.asked == asked)
  }

  @Test(
    arguments: [
      (.beginning, Store(), 0, []), (.inlineHandover, Store(), 0, []), (.sequence(30), Store(), 30, []),
      (.sequence(70), Store(), 40, []), (.present, Store(first: 20), 20, [.recall]),
      (.present, Store(first: 90), 40, [.recall]), (.present, Store(first: nil), nil, [.recall]),
      (.time("noon"), Store(before: 30, first: 9), 30, [.find(time: "noon")]),
      (.time("noon"), Store(before: 80, first: 9), 40, [.find(time: "noon")]),
      (.time("noon"), Store(before: nil, first: 20), 20, [.find(time: "noon"), .recall]),
      (.time("noon"), Store(before: nil, first: 90), 40, [.find(time: "noon"), .recall]),
      (.time("noon"), Store(before: nil, first: nil), 40, [.find(time: "noon"), .recall]),
    ] as [(StartPosition, Store, Int64?, [FirstPosition.Command])])
  func `in a rebuild, never above the live shard`(
    start: StartPosition, store: Store, after: Int64?, asked: [FirstPosition.Command]
  ) {
    let found = found(FirstPosition(ofRebuild: start, at: 40), in: store)
    #expect(found.after == after && found.asked == asked)
  }
}
