import Rules
import Testing

@Suite struct `The pace of the high-water agent` {
  @Test func `is quick while something moves, and slows down by halves`() {
    var pace = PollPace(from: .milliseconds(10), to: .milliseconds(100))
    func rests(_ count: Int, hasMoved: Bool = false, isSettled: Bool = true, held: Duration? = nil) -> [Duration] {
      (0..<count).map { _ in pace.next(hasMoved: hasMoved, isSettled: isSettled, held: held) }
    }
    #expect(rests(2, hasMoved: true) == [.milliseconds(10), .milliseconds(10)])
    #expect(rests(5) == [20, 40, 80, 100, 100].map { .milliseconds($0) })
    #expect(rests(1, hasMoved: true) == [.milliseconds(10)])
    // Something is outstanding, which may come at any moment.
    #expect(rests(2, isSettled: false) == [.milliseconds(10), .milliseconds(10)])
    #expect(rests(1, isSettled: false, held: .milliseconds(999)) == [.milliseconds(10)])
    // A transaction that holds the mark for longer is not waited for at full speed.
    #expect(rests(2, isSettled: false, held: .seconds(1)) == [.milliseconds(20), .milliseconds(40)])
    #expect(rests(1, hasMoved: true, held: .seconds(9)) == [.milliseconds(10)])
  }
}

@Suite struct `What is told again and again` {
  @Test func `is told at doubling distance, up to the longest`() {
    var endless = Doubling(from: .seconds(10))
    #expect((0..<4).map { _ in endless.next() } == [10, 20, 40, 80].map { .seconds($0) })
    var bounded = Doubling(from: .seconds(60), upTo: .seconds(200))
    #expect((0..<4).map { _ in bounded.next() } == [60, 120, 200, 200].map { .seconds($0) })
  }

  private func hold(_ lasted: Int, at number: Int64 = 5) -> HighWater.Hold {
    HighWater.Hold(number: number, since: .zero, lasted: .seconds(lasted), keptBy: .grace)
  }

  @Test func `of a hold of the mark is told when it lasts, each time that has doubled, and when it is over`() {
    var reports = HoldReports()
    let told = (0...100).filter { reports.report(hold($0)) == .held }
    #expect(told == [10, 20, 40, 80])
    #expect(reports.report(nil) == .released(after: .seconds(80)))
    #expect(reports.report(nil) == nil)
    // One that was never told is over without a word.
    #expect(reports.report(hold(9)) == nil && reports.report(nil) == nil)
  }

  @Test func `of a hold that is looked at rarely, is told once for all the moments that have passed`() {
    var reports = HoldReports()
    #expect(reports.report(hold(95)) == .held)
    #expect(reports.report(hold(159)) == nil && reports.report(hold(160)) == .held)
  }

  @Test func `of another hold begins anew`() {
    var reports = HoldReports()
    #expect(reports.report(hold(30)) == .held)
    #expect(reports.report(hold(9, at: 6)) == nil)
    #expect(reports.report(nil) == nil)
    #expect(reports.report(hold(10, at: 7)) == .held)
  }
}

@Suite struct `A node that leads` {
  private let start = ContinuousClock.now

  @Test func `is blind without a mark for longer than it may be, says so once, and sees again at once`() {
    var sight = LeaderSight(at: start)
    func look(_ second: Int, hasMark: Bool) -> Bool { sight.look(hasMark: hasMark, at: start + .seconds(second)) }
    #expect(!look(1, hasMark: true) && !look(16, hasMark: false) && !sight.isBlind)
    #expect(look(17, hasMark: false) && sight.isBlind)
    #expect(!look(18, hasMark: false) && sight.isBlind)
    #expect(!look(19, hasMark: true) && !sight.isBlind)
    #expect(!look(34, hasMark: false) && look(35, hasMark: false))
  }

  @Test func `that had no mark from the beginning is blind as soon`() {
    var sight = LeaderSight(at: start)
    #expect(sight.look(hasMark: false, at: start + LeaderSight.longestBlindness) == false)
    #expect(sight.look(hasMark: false, at: start + LeaderSight.longestBlindness + .milliseconds(1)) == true)
  }

  @Test func `says whose lock it waits for after two seconds, and again after one more`() {
    let (a, b) = (ShardName(projection: "A"), ShardName(projection: "B"))
    var locks = BlockedLocks()
    func due(_ tenths: Int, _ blocked: [ShardName]) -> [ShardName] {
      locks.due(blocked, at: start + .milliseconds(tenths * 100))
    }
    #expect(due(0, [a]).isEmpty && due(10, [a, b]).isEmpty && due(19, [a, b]).isEmpty)
    #expect(due(20, [a, b]) == [a])
    #expect(due(29, [a, b]).isEmpty)
    #expect(due(30, [a, b]) == [a, b])
    // One that was free in between is waited for anew.
    #expect(due(40, [b]) == [b] && due(50, [a, b]) == [b] && due(69, [a, b]) == [b])
    #expect(due(79, [a]) == [a])
  }
}
