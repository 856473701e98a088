import Rules

/// What a walk drives: the rule itself, or one that leaves something out.
protocol MarkRule: Sendable {
  var mark: Int64 { get }
  func needsHolders(handedOut: Int64, highestVisible: Int64) -> Bool
  mutating func read(_ reading: HighWater.Reading) -> HighWater.Command
  mutating func lookedUp(gaps: [ClosedRange<Int64>], from: Int64, to: Int64) -> HighWater.Advance
}

extension HighWater: MarkRule {}

/// Where the performer of a walk departs from what the rule asks of it.
enum Departure: Sendable { case none, holdersBeforeSequence, holdersOnlyWhenSequenceMoved }

/// One history: writers and the performer of the rule take turns at random, between any two steps of either.
struct HighWaterWalk {
  enum Stop: Error, Hashable { case violation(String) }
  enum Step { case snapshot, sequence, clock, live(Int), prepared, read, lookUp, lookedUp }
  typealias Make = @Sendable (HighWater.Policy, Int64?) -> any MarkRule

  let make: Make
  let departure: Departure
  let policy: HighWater.Policy
  var random: SplitMix64
  var store: SimulatedStore
  var rule: any MarkRule
  /// What a restart of the daemon finds; nil until it was stored for the first time.
  var persisted: Int64?

  var step = Step.snapshot
  var reading = HighWater.Reading(serverTime: .zero, handedOut: 0, highestVisible: 0, holders: [])
  var asked: (from: Int64, to: Int64, events: Int64) = (0, 0, 0)
  var gaps: [ClosedRange<Int64>] = []
  var isFirstReading = true

  var mark = 0
  /// Below a mark, without being visible when it passed.
  var passedUnseen: UInt128 = 0
  var reportedGrace: UInt128 = 0
  var reportedSkip: UInt128 = 0
  /// Handed out long before the first look of all: passed under the horizon without a report.
  var exempt: UInt128 = 0
  var lastRead: Int64?

  init(seed: UInt64, writers: SimulatedStore.Writers, skips: Bool, departure: Departure, make: @escaping Make) {
    var random = SplitMix64(seed: seed)
    let grace = 20 + random.below(80)
    policy = HighWater.Policy(
      append: writers == .rich ? .rich : .quick, cached: writers == .cached, gapGrace: .milliseconds(grace),
      longHold: .init(after: .milliseconds(150), action: skips ? .skip : .wait),
      scanLimit: [3, 20, 20_000][random.below(3)], lookBack: [0, 5, 20_000][random.below(3)])
    store = SimulatedStore(writers: writers, grace: grace)
    rule = make(policy, nil)
    self.make = make
    self.departure = departure
    self.random = random
  }

  mutating func run(steps: Int = 100) throws(Stop) {
    let performerShare = 30 + random.below(40)
    for _ in 0..<steps {
      store.time += random.below(12)
      if random.chance(performerShare) {
        try perform()
      } else {
        try check(shown: store.step(random.below(4), &random))
      }
      guard random.chance(3) else { continue }
      switch random.below(4) {
      case 0: restart()
      case 1: store.setBack += random.below(200)
      case 2: store.time += random.below(300)
      default:
        store.restartServer(&random)
        restart()
      }
    }
    try check(shown: store.finish(&random))
    try settle()
  }

  /// With nobody left, the mark reaches the end of the sequence in a bounded number of ticks.
  private mutating func settle() throws(Stop) {
    step = .snapshot
    let bound = 12 + SimulatedStore.highestNumber / Int(min(policy.scanLimit, 100))
    for _ in 0..<bound where rule.mark != store.handedOut {
      store.time += 30
      repeat { try perform() } while !isBetweenTicks
    }
    if rule.mark != store.handedOut {
      throw .violation("mark \(rule.mark) of \(store.handedOut) after \(bound) ticks with nobody left")
    }
  }

  private var isBetweenTicks: Bool { if case .snapshot = step { true } else { false } }

  private mutating func restart() {
    rule = make(policy, persisted)
    mark = Int(persisted ?? 0)
    step = .snapshot
    isFirstReading = true
  }

  private mutating func perform() throws(Stop) {
    switch step {
    case .snapshot:
      reading.highestVisible = Int64(store.highestVisible)
      step = .sequence
      if departure == .holdersBeforeSequence { beginHolders() }
    case .sequence:
      reading.handedOut = Int64(store.handedOut)
      step = .clock
    case .clock:
      reading.serverTime = store.serverTime
      if departure == .holdersBeforeSequence { return step = .read }
      if needsHolders { beginHolders() } else { step = .snapshot }
    case .live(let i):
      if !store.sessions[i].isPrepared, let holder = store.holder(i) { reading.holders.append(holder) }
      step = i + 1 < store.sessions.count ? .live(i + 1) : .prepared
    case .prepared:
      for i in store.sessions.indices where store.sessions[i].isPrepared {
        if let holder = store.holder(i) { reading.holders.append(holder) }
      }
      step = departure == .holdersBeforeSequence ? .sequence : .read
    case .read:
      try read()
    case .lookUp:
      asked.to = store.reach(from: asked.from, to: asked.to, events: asked.events)
      gaps = store.gaps(from: asked.from, to: asked.to)
      step = random.chance(3) ? .snapshot : .lookedUp
    case .lookedUp:
      let advance = rule.lookedUp(gaps: gaps, from: asked.from, to: asked.to)
      for passed in advance.passed {
        let bits = SimulatedStore.bits(Int(passed.range.lowerBound) - 1, Int(passed.range.upperBound))
        switch passed.reason {
        case .grace: reportedGrace |= bits
        case .skippedLongHold: reportedSkip |= bits
        }
      }
      step = .snapshot
      try checkMark()
    }
  }

  private var needsHolders: Bool {
    if departure == .holdersOnlyWhenSequenceMoved { return reading.handedOut != lastRead }
    return rule.needsHolders(handedOut: reading.handedOut, highestVisible: reading.highestVisible)
  }

  private mutating func beginHolders() {
    reading.holders = []
    step = .live(0)
  }

  private mutating func read() throws(Stop) {
    if isFirstReading, persisted == nil {
      exempt |= SimulatedStore.bits(0, max(0, Int(reading.handedOut - policy.lookBack)))
    }
    isFirstReading = false
    lastRead = reading.handedOut
    switch rule.read(reading) {
    case .done:
      step = .snapshot
    case .lookUpGaps(let from, let to, let events):
      asked = (from, to, events)
      step = .lookUp
    case .refuse(let refusal):
      throw .violation("refused: \(refusal)")
    }
    try checkMark()
  }

  private mutating func checkMark() throws(Stop) {
    let new = Int(rule.mark)
    guard new >= mark else { throw .violation("mark fell from \(mark) to \(new)") }
    guard new <= store.handedOut else { throw .violation("mark \(new) above \(store.handedOut)") }
    passedUnseen |= SimulatedStore.bits(mark, new) & ~store.visible
    mark = new
    if random.chance(30) { persisted = rule.mark }
  }

  /// What shows itself now must not lie below a mark that had passed it, unless the rule said that it might.
  private func check(shown: UInt128) throws(Stop) {
    let lost = shown & passedUnseen
    guard lost != 0 else { return }
    let allowed = reportedSkip | (store.late & (reportedGrace | exempt))
    if lost & ~allowed != 0 {
      let number = 127 - (lost & ~allowed).leadingZeroBitCount
      throw .violation("event \(number) was passed unseen, mark \(mark), grace said \(reportedGrace & lost != 0)")
    }
  }
}
