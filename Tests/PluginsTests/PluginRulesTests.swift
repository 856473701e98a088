import Plugins
import Testing

@Suite struct `The rules around a plugin` {
  @Test func `hand over fewer events after a page was not answered in time, down to one, and more when it is quick`() {
    var pace = PluginPace()
    var tried: [Int] = []
    while pace.limit > 1 {
      tried.append(pace.limit)
      pace.timedOut(pace.limit)
    }
    #expect(tried == [1000, 500, 250, 125, 62, 31, 15, 7, 3])
    pace.timedOut(1)
    #expect(pace.limit == 1)
    for _ in 0..<40 { pace.answered(pace.limit, took: .milliseconds(1), timeout: .seconds(30)) }
    #expect(pace.limit == PluginPace.limits.upperBound)
  }

  @Test func `hand over fewer events for a while after a commit was too much, however quick the plugin is`() {
    var pace = PluginPace()
    pace.tooMuch(1_000)
    #expect(pace.limit == 500)
    for _ in 0..<7 {
      pace.answered(500, took: .milliseconds(1), timeout: .seconds(30))
      pace.committed(500)
    }
    #expect(pace.limit == 500)
    pace.committed(500)
    #expect(pace.limit == 1_000)
  }

  @Test func `keep the pace of a plugin that needs part of its timeout`() {
    var pace = PluginPace()
    pace.answered(1_000, took: .seconds(10), timeout: .seconds(30))
    #expect(pace.limit == 1_000)
    pace.answered(1_000, took: .seconds(20), timeout: .seconds(30))
    #expect(pace.limit == 500)
    // The time for a short page says nothing about a full one.
    pace.answered(3, took: .milliseconds(1), timeout: .seconds(30))
    #expect(pace.limit == 500)
  }

  @Test func `let a hundred lines into the log, then count`() {
    var output = OutputLimit()
    let now = ContinuousClock.now
    let verdicts = (0..<250).map { _ in output.meet(at: now) }
    #expect(verdicts.count { $0 == .pass } == 100)
    #expect(verdicts.count { $0 == .drop } == 150)
    #expect(output.meet(at: now + OutputLimit.interval) == .passAfter(dropped: 150))
    #expect(output.meet(at: now + OutputLimit.interval) == .pass)
    #expect(output.takeDropped() == 0)
  }

  @Test func `split a long text for the log into lines`() {
    #expect(Array(OutputLimit.parts(of: "short\nand more")) == ["short\nand more"])
    #expect(OutputLimit.parts(of: String(repeating: "x", count: 4_001)).map(\.count) == [2_000, 2_000, 1])
  }

  @Test(
    arguments: [
      (0, 946_684_800_000_000), (-946_684_800_000_000, 0), (.max, .max), (.min, .min),
      // The last of PostgreSQL's times, in the year 294276: too late for microseconds since 1970.
      (9_223_371_331_199_999_999, .max - 1), (.max - 1, .max - 1),
      (.max - 1 - 946_684_800_000_000, .max - 1), (.max - 2 - 946_684_800_000_000, .max - 2),
    ] as [(Int64, Int64)])
  func `give a library the time since 1970, as far as it fits`(time: Int64, told: Int64) {
    #expect(EventText.unixTime(time) == told)
  }
}

@Suite struct `An event that a plugin fails on` {
  /// A plugin that fails and answers.
  private final class Trial {
    private var suspect = SuspectEvent()
    private let start = ContinuousClock.now

    /// Fails on the first page, of many events.
    init() { _ = suspect.failed(on: 1...20, isAlone: false, at: start) }

    func answered(through ceiling: Int64) { suspect.answered(through: ceiling) }

    /// Fails so often on one event, at one moment.
    func blames(_ sequence: Int64, tries: Int, after: Duration = .zero) -> [Bool] {
      (0..<tries).map { _ in suspect.failed(on: sequence...sequence, isAlone: true, at: start + after) }
    }
  }

  @Test func `is to blame after several tries, if the plugin has answered for another meanwhile`() {
    let trial = Trial()
    trial.answered(through: 10)
    #expect(trial.blames(11, tries: 5) == [false, false, false, true, true])
    // Another in the same page.
    trial.answered(through: 14)
    #expect(trial.blames(15, tries: 4) == [false, false, false, true])
    // The page is over, so what it answered tells nothing of the next.
    trial.answered(through: 20)
    #expect(trial.blames(21, tries: 9) == Array(repeating: false, count: 9))
  }

  @Test func `is to blame after a minute, if the plugin answers nothing, and no second one is`() {
    let trial = Trial()
    #expect(trial.blames(1, tries: 9, after: .seconds(59)) == Array(repeating: false, count: 9))
    #expect(trial.blames(1, tries: 2, after: .seconds(60)) == [true, true])
    #expect(trial.blames(2, tries: 9, after: .seconds(900)) == Array(repeating: false, count: 9))
    // It works again.
    trial.answered(through: 3)
    #expect(trial.blames(4, tries: 4, after: .seconds(900)) == [false, false, false, true])
  }

  @Test func `counts its failures in a row`() {
    let trial = Trial()
    trial.answered(through: 5)
    #expect(trial.blames(6, tries: 3) == [false, false, false])
    #expect(trial.blames(7, tries: 3) == [false, false, false])
    #expect(trial.blames(6, tries: 4) == [false, false, false, true])
  }
}
