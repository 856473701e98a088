import Rules

/// The little of PostgreSQL that the high-water rule rests on: a sequence, its locks, and commits that show first and
/// unlock after. Every mutating function is one step that happens at once; whatever else happens, happens between two.
struct SimulatedStore {
  enum Writers { case quick, rich, cached }
  enum Phase { case idle, open, over }

  /// One session and its transaction.
  struct Session {
    var phase = Phase.idle
    var name = 0
    var isPrepared = false
    var onSequence = false
    var onEvents = false
    /// When the transaction took its first lock.
    var lockedAt = 0
    /// What becomes visible if it commits, as a set of bits.
    var numbers: UInt128 = 0
    /// Drawn since the savepoint, if there is one.
    var sinceSavepoint: UInt128?
    /// Numbers the session has in its cache.
    var cache: Range<Int> = 0..<0
  }

  static let highestNumber = 110
  static let names = (0..<1_000).map { "\($0 % 7)/\($0)" }

  let writers: Writers
  let grace: Int
  var sessions = [Session](repeating: Session(), count: 4)
  var handedOut = 0
  var visible: UInt128 = 0
  /// Drawn, and waiting in an application to be inserted by another transaction.
  var reserved: [Int] = []
  var drawnAt = [Int](repeating: 0, count: highestNumber + 64)
  /// Their transaction took its first lock later than the grace allows.
  var late: UInt128 = 0
  /// Milliseconds that really went by, and how far the server's clock was set back meanwhile.
  var time = 0
  var setBack = 0
  private var lastName = 0

  init(writers: Writers, grace: Int) {
    self.writers = writers
    self.grace = grace
  }

  var serverTime: Duration { .milliseconds(1_000_000 + time - setBack) }
  var highestVisible: Int { visible == 0 ? 0 : 127 - visible.leadingZeroBitCount }

  static func bit(_ number: Int) -> UInt128 { UInt128(1) << UInt128(number) }
  /// The numbers in (from, to].
  static func bits(_ from: Int, _ to: Int) -> UInt128 { from >= to ? 0 : (bit(to) << 1) &- (bit(from) << 1) }

  /// Lets a session do something it may do now; returns what became visible by it.
  mutating func step(_ i: Int, _ random: inout SplitMix64) -> UInt128 {
    switch sessions[i].phase {
    case .idle:
      sessions[i].phase = .open
      sessions[i].name = freshName()
      if writers == .rich, random.chance(40) { reserve(i, &random) }
    case .over:
      release(i)
    case .open where sessions[i].isPrepared:
      if random.chance(30) { return end(i, commits: random.chance(60)) }
    case .open:
      switch random.below(100) {
      case 0..<50: write(i, &random)
      case 50..<58: sessions[i].sinceSavepoint = sessions[i].sinceSavepoint ?? 0
      case 58..<66: rollBackToSavepoint(i)
      case 66..<88: return end(i, commits: true)
      case 88..<94: return end(i, commits: false)
      case 94..<98: prepare(i, renames: random.chance(70))
      default: kill(i)
      }
    }
    return 0
  }

  private mutating func freshName() -> Int {
    lastName += 1
    return lastName
  }

  /// Draws in a transaction that inserts nothing, and commits at once.
  private mutating func reserve(_ i: Int, _ random: inout SplitMix64) {
    lock(i)
    sessions[i].onSequence = true
    for _ in 0...random.below(3) where handedOut < Self.highestNumber { reserved.append(draw(i)) }
    sessions[i].phase = .over
  }

  /// The first call only takes the lock; a later one draws, or inserts what was reserved.
  private mutating func write(_ i: Int, _ random: inout SplitMix64) {
    if writers == .rich, !reserved.isEmpty, random.chance(80) {
      guard sessions[i].onEvents else {
        lock(i)
        sessions[i].onEvents = true
        return
      }
      take(reserved.remove(at: random.below(reserved.count)), i)
      return
    }
    guard sessions[i].onSequence else {
      lock(i)
      sessions[i].onSequence = true
      return
    }
    for _ in 0...random.below(3) where handedOut < Self.highestNumber {
      let number = draw(i)
      take(number, i)
    }
  }

  private mutating func lock(_ i: Int) {
    if !sessions[i].onEvents, !sessions[i].onSequence { sessions[i].lockedAt = time }
  }

  private mutating func draw(_ i: Int) -> Int {
    if sessions[i].cache.isEmpty {
      let block = writers == .cached ? 6 : 1
      for number in handedOut + 1...handedOut + block { drawnAt[number] = time }
      sessions[i].cache = handedOut + 1..<handedOut + block + 1
      handedOut += block
    }
    return sessions[i].cache.removeFirst()
  }

  private mutating func take(_ number: Int, _ i: Int) {
    let bit = Self.bit(number)
    sessions[i].numbers |= bit
    if let since = sessions[i].sinceSavepoint { sessions[i].sinceSavepoint = since | bit }
    if sessions[i].lockedAt - drawnAt[number] > grace { late |= bit }
  }

  private mutating func rollBackToSavepoint(_ i: Int) {
    guard let since = sessions[i].sinceSavepoint else { return }
    sessions[i].numbers &= ~since
    sessions[i].sinceSavepoint = nil
  }

  /// Commit or rollback, up to where others see it; the locks go with the next step.
  private mutating func end(_ i: Int, commits: Bool) -> UInt128 {
    let numbers = sessions[i].numbers
    sessions[i].numbers = 0
    sessions[i].phase = .over
    guard commits else { return 0 }
    visible |= numbers
    return numbers
  }

  private mutating func prepare(_ i: Int, renames: Bool) {
    sessions[i].isPrepared = true
    sessions[i].cache = 0..<0
    if renames { sessions[i].name = freshName() }
  }

  private mutating func release(_ i: Int) {
    let cache = sessions[i].cache
    sessions[i] = Session()
    sessions[i].cache = cache
  }

  private mutating func kill(_ i: Int) {
    sessions[i] = Session()
  }

  /// kill -9 of the whole server: prepared transactions live on under new names, the sequence leaves a hole.
  mutating func restartServer(_ random: inout SplitMix64) {
    for i in sessions.indices {
      if sessions[i].isPrepared, sessions[i].phase == .open { sessions[i].name = freshName() } else { kill(i) }
    }
    if handedOut < Self.highestNumber { handedOut += random.below(5) }
  }

  /// Everybody finishes; returns what became visible by it.
  mutating func finish(_ random: inout SplitMix64) -> UInt128 {
    var shown: UInt128 = 0
    for i in sessions.indices where sessions[i].phase != .idle {
      if sessions[i].phase == .open { shown |= end(i, commits: random.chance(50)) }
      kill(i)
    }
    return shown
  }

  func holder(_ i: Int) -> HighWater.Holder? {
    let session = sessions[i]
    guard session.onSequence || session.onEvents else { return nil }
    return HighWater.Holder(
      virtualTransaction: Self.names[session.name], isPrepared: session.isPrepared,
      onSequence: session.onSequence, onEvents: session.onEvents)
  }

  /// Where a look-up of so many events ends.
  func reach(from: Int64, to: Int64, events: Int64) -> Int64 {
    var left = events
    var number = from
    while number < to {
      number += 1
      if visible & Self.bit(Int(number)) != 0 { left -= 1 }
      if left == 0 { return number }
    }
    return to
  }

  func gaps(from: Int64, to: Int64) -> [ClosedRange<Int64>] {
    var gaps: [ClosedRange<Int64>] = []
    var first: Int64?
    var number = from + 1
    while number <= to {
      if visible & Self.bit(Int(number)) == 0 {
        first = first ?? number
      } else if let start = first {
        gaps.append(start...number - 1)
        first = nil
      }
      number += 1
    }
    if let start = first { gaps.append(start...to) }
    return gaps
  }
}
