import Rules
import Testing

@Suite struct `The next attempt at a server that is lost` {
  private func delays(after code: Code?, times: Int = 8) -> [Duration] {
    var reattempt = Reattempt()
    return (0..<times).map { _ in reattempt.next(after: Problem("lost", code: code)) }
  }

  /// What may change at any moment without a person.
  @Test(
    arguments: [
      nil, .sqlState("08006"), .sqlState("57P01"), .sqlState("57P03"), .sqlState("25006"), .store(.standby),
    ] as [Code?])
  func `comes within half a second where nothing answers, since an outage costs as much at its end`(code: Code?) {
    let delays = delays(after: code)
    #expect(delays.max() == .milliseconds(500) && delays.first! < .milliseconds(250) && delays == delays.sorted())
  }

  @Test(
    arguments: [.sqlState("28P01"), .sqlState("3D000"), .sqlState("53300"), .store(.noStore), .store(.replaced)]
      as [Code])
  func `comes less and less often where the server refuses, and within five seconds`(code: Code) {
    let delays = delays(after: code)
    #expect(delays.max() == .seconds(5) && delays.first! < .seconds(1) && delays == delays.sorted())
  }

  @Test func `comes soon once the server is away, whatever was before, and again after it worked`() {
    var reattempt = Reattempt()
    let refusal = Problem("no", code: .sqlState("28P01"))
    for _ in 0..<6 { _ = reattempt.next(after: refusal) }
    #expect(reattempt.next(after: Problem("away", code: nil)) < .milliseconds(250))
    #expect(reattempt.next(after: refusal) == .seconds(5))
    reattempt.reset()
    #expect(reattempt.next(after: refusal) == .milliseconds(250))
  }
}
