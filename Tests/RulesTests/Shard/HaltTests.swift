import Rules
import Testing

@Suite struct `A shard that is to stand still` {
  private static let page = Page(floor: 0, ceiling: 7)
  private static let now = ContinuousClock.now
  private static let byOperator = Halt(.stop, by: .operator("ann"))
  private static let byRule = Halt(.stop, by: .rule(ShardName(projection: "Other"), failure: "bad"))
  private static let byRebuild = Halt(.stop, by: .rebuild)

  private func shard() -> Shard {
    var shard = Shard(name: ShardName(projection: "Trip"))
    _ = shard.markMoved(to: 7)
    _ = shard.positionRead(0)
    return shard
  }

  @Test(arguments: [
    Shard.Command.readPosition, .awaitMark(above: 7), .apply(page), .isolate(page, chunk: 0), .wait(.seconds(1)),
    .awaitDatabase(after: .zero), .pause(.seconds(9)), .pauseAll(.seconds(9)), .stopAll, .stop,
  ])
  func `does so before any command, and a stopped one only for its operator or a rebuild`(command: Shard.Command) {
    var shard = shard()
    #expect(shard.halted(by: nil, before: command) == command)
    #expect(shard.halted(by: Self.byOperator, before: command) == .halt(Self.byOperator))
    #expect(shard.halted(by: Self.byRebuild, before: command) == .halt(Self.byRebuild))
    #expect(
      shard.halted(by: Self.byRule, before: command) == (command == .stop ? .stop : .halt(Self.byRule)))
  }

  /// What follows the end of a halt: by whom it was, whether something was said to the shard itself meanwhile, what it came before, and
  /// what comes next.
  @Test(
    arguments: [
      (byOperator, true, .apply(page), .readPosition), (byOperator, false, .pause(.seconds(9)), .readPosition),
      (byOperator, true, .stop, .readPosition), (byRebuild, true, .pause(.seconds(9)), .readPosition),
      (byRebuild, true, .stop, .readPosition), (byRule, false, .apply(page), .readPosition),
      (byRule, false, .awaitMark(above: 7), .readPosition), (byRule, false, .pause(.seconds(9)), .pause(.seconds(9))),
      (byRule, true, .pause(.seconds(9)), .readPosition),
    ] as [(Halt, Bool, Shard.Command, Shard.Command)])
  func `goes on afterwards`(halt: Halt, isTold: Bool, before: Shard.Command, after: Shard.Command) {
    var shard = shard()
    _ = shard.halted(by: halt, before: before)
    #expect(shard.released(isTold: isTold) == after)
  }

  @Test func `by a rule for all goes on in its chain, and by an operator begins it anew`() {
    let chain: [FailureAction] = [.pauseAll(.seconds(1)), .stop]
    for (halt, isTold, next) in [
      (Self.byRule, false, Shard.Command.stop), (Self.byRule, true, .pauseAll(.seconds(1))),
      (Self.byOperator, false, .pauseAll(.seconds(1))), (Self.byRebuild, true, .pauseAll(.seconds(1))),
    ] {
      var shard = shard()
      #expect(shard.failed(.event, "bad", actions: chain) == .pauseAll(.seconds(1)))
      #expect(shard.halted(by: halt, before: .readPosition) == .halt(halt))
      _ = shard.released(isTold: isTold)
      #expect(shard.failed(.event, "bad", actions: chain) == next, "\(halt)")
    }
  }

  @Test(
    arguments: [
      (.awaitMark(above: 7), false, .awaitMark(above: 7)), (.awaitMark(above: 7), true, .awaitMark(above: 7)),
      (.wait(.seconds(9)), false, .readPosition),
      (.awaitDatabase(after: .seconds(9)), false, .awaitDatabase(after: .zero)),
      (.pause(.seconds(9)), false, .pause(.seconds(4))), (.pause(.seconds(9)), true, .readPosition),
      (.stop, false, .stop), (.stop, true, .readPosition),
    ] as [(Shard.Command, Bool, Shard.Command)])
  func `is woken from a wait by a word to it, and keeps its own pause and stop for a word to all`(
    command: Shard.Command, isTold: Bool, next: Shard.Command
  ) {
    var shard = shard()
    _ = shard.failed(.definition, "no such table", actions: [.stop])
    #expect(shard.interrupted(command, left: .seconds(4), isTold: isTold) == next)
    #expect((shard.condition == .starting) == (isTold && next == .readPosition))
  }

  @Test func `reads its position again where the mark is of another life`() {
    var shard = shard()
    #expect(shard.positionRead(7, life: 3) == .awaitMark(above: 7, life: 3))
    #expect(shard.markMoved(to: 9, life: 4) == .readPosition)
    #expect(shard.positionRead(7, life: 4) == .apply(Page(floor: 7, ceiling: 9)))
    #expect(shard.markMoved(to: 9, life: 4) == .apply(Page(floor: 7, ceiling: 9)))
  }
}

@Suite struct `What is requested of shards` {
  private let trip = ShardName(projection: "Trip")
  private let day = ShardName(projection: "Day")
  private let start = ContinuousClock.now
  private func at(_ seconds: Int) -> ContinuousClock.Instant { start + .seconds(seconds) }

  /// What the database has known for long.
  private func known(_ requests: [String: OperatorRequest] = ["Trip:All": OperatorRequest(.run, serial: 0)]) -> Halts {
    var halts = Halts()
    #expect(!halts.isKnown)
    #expect(halts.take(requests, at: start) == true)
    #expect(halts.isKnown)
    return halts
  }

  private func request(_ kind: OperatorRequest.Kind, _ left: Duration? = nil, serial: Int64) -> [String:
    OperatorRequest]
  {
    ["Trip:All": OperatorRequest(kind, left: left, by: "ann", serial: serial)]
  }

  @Test func `is to run where nothing was said`() {
    var halts = known()
    #expect(halts.current(trip, at: start).halt == nil && halts.current(day, at: start).halt == nil)
  }

  @Test func `by an operator holds over a restart, and until they say otherwise`() {
    var halts = known(request(.stop, serial: 4))
    #expect(halts.current(trip, at: at(9_999)).halt == Halt(.stop, by: .operator("ann")))
    #expect(halts.current(day, at: start).halt == nil)
    let before = halts.current(trip, at: start).revision
    #expect(halts.take(request(.stop, serial: 4), at: at(1)) == false)
    #expect(halts.current(trip, at: start).revision == before)
    #expect(halts.take(request(.run, serial: 5), at: at(2)) == true)
    #expect(halts.current(trip, at: start).halt == nil && halts.current(trip, at: start).revision != before)
  }

  @Test func `for a time ends with it, by the database or the clock, whichever is first`() {
    for isDatabaseFirst in [true, false] {
      var halts = known()
      #expect(halts.take(request(.pause, .seconds(60), serial: 1), at: start) == true)
      let (halt, revision) = halts.current(trip, at: at(59))
      #expect(halt == Halt(.pause(until: at(60)), by: .operator("ann")))
      if isDatabaseFirst {
        #expect(halts.take(request(.run, serial: 1), at: at(59)) == true)
        #expect(halts.current(trip, at: at(59)).halt == nil)
      } else {
        #expect(halts.current(trip, at: at(60)).halt == nil)
        #expect(halts.take(request(.run, serial: 1), at: at(61)) == false, "it is no news then")
        #expect(halts.current(trip, at: at(61)).revision == revision)
      }
    }
  }

  /// The database reckons with a clock, which an operator or a time server may set back.
  @Test func `for a time ends with that time, whatever becomes of the clock`() {
    var halts = known()
    #expect(halts.take(request(.pause, .seconds(60), serial: 1), at: start) == true)
    #expect(halts.take(request(.pause, .seconds(3_600), serial: 1), at: at(30)) == false)
    let (halt, revision) = halts.current(trip, at: at(60))
    #expect(halt == nil)
    #expect(halts.take(request(.pause, .seconds(3_570), serial: 1), at: at(61)) == false)
    #expect(halts.current(trip, at: at(61)).halt == nil && halts.current(trip, at: at(61)).revision == revision)
    // Another word of the operator's is one.
    #expect(halts.take(request(.pause, .seconds(60), serial: 2), at: at(62)) == true)
    #expect(halts.current(trip, at: at(63)).halt != nil)
  }

  @Test func `twice the same is said twice`() {
    var halts = known()
    #expect(halts.take(request(.run, serial: 1), at: start) == true)
    let before = halts.current(trip, at: start).revision
    #expect(halts.take(request(.run, serial: 2), at: start) == true)
    #expect(halts.current(trip, at: start).revision != before)
  }

  @Test func `by a rule is for all, the longer one holds, and an operator's run ends it`() {
    var halts = known()
    #expect(halts.haltAll(for: .seconds(60), because: "bad", in: day, at: start) == true)
    let byDay = Halt.Source.rule(day, failure: "bad")
    #expect(halts.current(trip, at: start).halt == Halt(.pause(until: at(60)), by: byDay))
    #expect(halts.haltAll(for: .seconds(30), because: "worse", in: trip, at: at(1)) == false)
    #expect(halts.current(day, at: start).halt?.source == byDay)
    #expect(halts.haltAll(for: nil, because: "worse", in: trip, at: at(2)) == true)
    #expect(halts.haltAll(for: .seconds(30), because: "bad", in: day, at: at(3)) == false)
    let (halt, revision) = halts.current(day, at: at(9_999))
    #expect(halt == Halt(.stop, by: .rule(trip, failure: "worse")))
    #expect(halts.take(request(.run, serial: 1), at: at(4)) == true)
    #expect(halts.current(day, at: at(4)).halt == nil)
    #expect(halts.current(day, at: at(4)).revision.own == revision.own, "nothing was said to that one itself")
  }

  @Test func `by a rule for a time ends with it`() {
    var halts = known()
    #expect(halts.haltAll(for: .seconds(60), because: "bad", in: day, at: start) == true)
    #expect(halts.current(trip, at: at(60)).halt == nil)
    #expect(halts.haltAll(for: .seconds(1), because: "bad", in: day, at: at(61)) == true)
    #expect(halts.current(trip, at: at(61)).halt != nil)
  }

  @Test func `by an operator comes before what a rule wants of all, and a rebuild before both`() {
    var halts = known(request(.pause, serial: 1))
    #expect(halts.haltAll(for: nil, because: "bad", in: day, at: start) == true)
    #expect(halts.current(trip, at: start).halt?.source == .operator("ann"))
    let before = halts.current(trip, at: start).revision
    #expect((0..<2).map { _ in halts.hold(trip, true) } == [true, false])
    #expect(halts.current(trip, at: start).halt == Halt(.stop, by: .rebuild))
    #expect(halts.current(day, at: start).halt?.isByRule == true)
    let held = halts.current(trip, at: start).revision
    #expect((0..<2).map { _ in halts.hold(trip, false) } == [true, false])
    #expect(halts.current(trip, at: start).halt?.source == .operator("ann"))
    let released = halts.current(trip, at: start).revision
    #expect(Set([before, held, released]).count == 3)
  }

  @Test func `is told in words that nothing depends on`() {
    #expect("\(Halt.Source.operator("ann@host"))" == "ann@host")
    #expect("\(Halt.Source.rule(trip, failure: "bad"))" == "a rule, for Trip:All: bad")
    #expect("\(Halt.Source.rebuild)" == "a rebuild")
    // An operator may have any name.
    #expect(!Halt(.stop, by: .operator("a rule, for Trip:All: bad")).isByRule)
  }
}
