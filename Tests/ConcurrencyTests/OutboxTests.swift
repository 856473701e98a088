import Concurrency
import Glibc
import Synchronization
import Testing

/// What was sent, by a reader that takes nothing while the gate is shut.
private final class Reader: Sendable {
  let sent = Mutex<[String]>([])
  let isTaking = Mutex(false)
  private let gate: Mutex<Bool>

  init(isOpen: Bool = false) { gate = Mutex(isOpen) }

  func open() { gate.withLock { $0 = true } }

  /// Blocks its thread, as a full pipe does.
  func take(_ item: String) {
    isTaking.withLock { $0 = true }
    while !gate.withLock({ $0 }) { usleep(1_000) }
    sent.withLock { $0.append(item) }
  }
}

@Suite struct `What leaves the process` {
  @Test func `is sent in order`() {
    let reader = Reader(isOpen: true)
    let outbox = Outbox<String>("test", limit: 1_000) { reader.take($0) }
    for number in 1...500 { outbox.put("\(number)") }
    #expect(outbox.drain(within: .seconds(60)))
    #expect(reader.sent.withLock { $0 } == (1...500).map { "\($0)" })
  }

  @Test func `waits for nobody, and what finds no room is counted and told in its place`() {
    let reader = Reader()
    let outbox = Outbox<String>("test", limit: 3, lost: { "lost \($0)" }) { reader.take($0) }
    outbox.put("1")
    while !reader.isTaking.withLock({ $0 }) { usleep(1_000) }
    for number in 2...10 { outbox.put("\(number)") }
    #expect(!outbox.drain(within: .milliseconds(20)))
    reader.open()
    #expect(outbox.drain(within: .seconds(60)))
    #expect(reader.sent.withLock { $0 } == ["1", "2", "3", "4", "lost 6"])
    outbox.put("11")
    #expect(outbox.drain(within: .seconds(60)))
    #expect(reader.sent.withLock { $0.last } == "11")
  }

  @Test func `is replaced by newer news of its kind while it waits`() {
    let reader = Reader()
    let outbox = Outbox<String>("test", limit: 3, replaces: { $0.first == $1.first }) { reader.take($0) }
    for number in 1...100 {
      outbox.put("a\(number)")
      outbox.put("b\(number)")
    }
    outbox.put("c")
    reader.open()
    #expect(outbox.drain(within: .seconds(60)))
    // The thread may have taken one of the first.
    #expect(reader.sent.withLock { $0.suffix(3) } == ["a100", "b100", "c"])
    #expect(reader.sent.withLock { $0.count } <= 4)
  }

  @Test func `is sent although its outbox is gone`() async throws {
    let reader = Reader(isOpen: true)
    do {
      let outbox = Outbox<String>("test", limit: 3) { reader.take($0) }
      outbox.put("the last word")
    }
    let deadline = ContinuousClock.now + .seconds(60)
    while reader.sent.withLock({ $0.isEmpty }), ContinuousClock.now < deadline {
      try await Task.sleep(for: .milliseconds(1))
    }
    #expect(reader.sent.withLock { $0 } == ["the last word"])
  }

  @Test func `is given up after a limit where a pipe is full`() {
    var ends: [Int32] = [0, 0]
    #expect(pipe(&ends) == 0)
    _ = fcntl(ends[1], F_SETFL, O_NONBLOCK)
    let filling = [UInt8](repeating: 0, count: 4096)
    while write(ends[1], filling, filling.count) > 0 {}
    for flags in [O_NONBLOCK, 0] {
      _ = fcntl(ends[1], F_SETFL, flags)
      #expect(!writeAll("words", to: ends[1], within: .milliseconds(10)))
    }
    var taken = [UInt8](repeating: 0, count: 1 << 20)
    _ = read(ends[0], &taken, taken.count)
    #expect(writeAll("words", to: ends[1], within: .milliseconds(10)))
    for end in ends { close(end) }
  }
}
