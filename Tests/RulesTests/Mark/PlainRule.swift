import Rules

/// What a rule of high water might leave out.
enum Omission: CaseIterable, Sendable {
  /// Takes the highest visible number for the mark.
  case locks
  /// Gives a new holder the numbers handed out by this tick for its floor, not those of the tick before.
  case floorOfTickBefore
  /// Takes a prepared transaction it has not seen for a new one.
  case preparedMayBeOld
  /// Takes the holders of its first tick for new ones.
  case firstTickKnowsNothing
  /// Rich: waits for nobody on the event table.
  case eventTable

  var showsUnder: [SimulatedStore.Writers] {
    switch self {
    case .locks: [.quick, .rich]
    case .floorOfTickBefore: [.quick, .rich]
    case .preparedMayBeOld: [.quick]
    case .firstTickKnowsNothing: [.quick]
    case .eventTable: [.rich]
    }
  }
}

/// The rule in its barest form: no limits, no reports to speak of, everything looked up; and one thing left out.
struct PlainRule: MarkRule {
  let omission: Omission?
  let policy: HighWater.Policy
  var mark: Int64
  private var floors: [String: Int64] = [:]
  private var samples: [(time: Duration, handedOut: Int64)] = []
  private var horizonBefore: Int64?
  private var latest: Duration = .zero
  private var settled: Int64 = 0

  init(_ omission: Omission?, policy: HighWater.Policy, restoredMark: Int64?) {
    self.omission = omission
    self.policy = policy
    mark = restoredMark ?? 0
  }

  func needsHolders(handedOut: Int64, highestVisible: Int64) -> Bool { true }

  mutating func read(_ reading: HighWater.Reading) -> HighWater.Command {
    // A clock set back starts its samples anew; a sample counts as old as the latest time there was.
    if reading.serverTime < latest { samples = [] }
    latest = reading.serverTime
    samples.append((reading.serverTime, reading.handedOut))
    var horizon = reading.handedOut
    if policy.usesHorizon {
      horizon = samples.last { $0.time <= reading.serverTime - policy.gapGrace }?.handedOut ?? mark
    }
    let newcomers =
      switch omission {
      case .floorOfTickBefore: horizonBefore == nil ? mark : horizon
      case .firstTickKnowsNothing: horizonBefore ?? horizon
      default: horizonBefore ?? mark
      }
    horizonBefore = horizon
    var met: [String: Int64] = [:]
    for holder in reading.holders where holder.onSequence || (policy.usesHorizon && omission != .eventTable) {
      let isOld = holder.isPrepared && omission != .preparedMayBeOld
      met[holder.virtualTransaction] = floors[holder.virtualTransaction] ?? (isOld ? mark : newcomers)
    }
    floors = met
    settled = floors.values.reduce(horizon, min)
    if omission == .locks { settled = reading.highestVisible }
    return reading.handedOut > mark ? .lookUpGaps(from: mark, to: reading.handedOut, events: .max) : .done
  }

  mutating func lookedUp(gaps: [ClosedRange<Int64>], from: Int64, to: Int64) -> HighWater.Advance {
    let blocking = gaps.first { $0.upperBound > settled }
    mark = blocking.map { max($0.lowerBound - 1, settled, mark) } ?? to
    var advance = HighWater.Advance(mark: mark)
    if policy.usesHorizon, settled > from {
      advance.passed = gaps.filter { $0.lowerBound <= settled }.map {
        .init(range: $0.clamped(to: from + 1...settled), reason: .grace)
      }
    }
    return advance
  }
}
