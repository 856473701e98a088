@testable import Daemon
import Rules
import Synchronization
import TestSupport
import Testing

/// A rebuild asks a shard to stand still, and the shard answers.
@Suite struct `A shard that a rebuild wants to stand still` {
  private let trip = ShardName(projection: "Trip")

  /// Whether the hold has been answered; it is asked for in a task of its own.
  private final class Answer: Sendable {
    private let isThere = Mutex(false)
    var isGiven: Bool { isThere.withLock { $0 } }
    func give() { isThere.withLock { $0 = true } }
  }

  private func held(_ board: RequestBoard) async throws {
    try await eventually("the hold is asked for") { await board.current(trip).halt?.source == .rebuild }
  }

  @Test func `is not waited for where it does not run, or has ended`() async throws {
    let board = RequestBoard()
    try await board.hold(trip)
    await board.release(trip)
    await board.began(trip)
    let holding = Task { try await board.hold(trip) }
    try await held(board)
    await board.ended(trip)
    try await holding.value
  }

  @Test func `is waited for until it says that it does, at the word it was given`() async throws {
    let board = RequestBoard()
    await board.began(trip)
    let before = await board.current(trip).revision
    let answer = Answer()
    let holding = Task {
      try await board.hold(trip)
      answer.give()
    }
    try await held(board)
    let revision = await board.current(trip).revision
    // What it said of an earlier word is no answer to this one.
    await board.standsStill(trip, at: before)
    for _ in 0..<100 { await Task.yield() }
    #expect(!answer.isGiven)
    await board.standsStill(trip, at: revision)
    try await holding.value
    #expect(answer.isGiven)
  }

  @Test func `has to say so again when it was let go in between`() async throws {
    let board = RequestBoard()
    await board.began(trip)
    let first = Task { try await board.hold(trip) }
    try await held(board)
    let revision = await board.current(trip).revision
    await board.standsStill(trip, at: revision)
    try await first.value
    await board.release(trip)
    #expect(await board.current(trip).halt == nil)
    let answer = Answer()
    let second = Task {
      try await board.hold(trip)
      answer.give()
    }
    try await held(board)
    await board.standsStill(trip, at: revision)
    for _ in 0..<100 { await Task.yield() }
    #expect(!answer.isGiven)
    await board.standsStill(trip, at: board.current(trip).revision)
    try await second.value
  }

  @Test func `goes on when the rebuild gives up`() async throws {
    let board = RequestBoard()
    await board.began(trip)
    let holding = Task { try await board.hold(trip) }
    try await held(board)
    holding.cancel()
    await #expect(throws: CancellationError.self) { try await holding.value }
    #expect(await board.current(trip).halt == nil)
  }

  @Test func `that stands still for its operator has not answered a rebuild`() async throws {
    let board = RequestBoard()
    await board.began(trip)
    await board.take(["Trip:All": OperatorRequest(.stop, serial: 1)])
    await board.standsStill(trip, at: board.current(trip).revision)
    let answer = Answer()
    let holding = Task {
      try await board.hold(trip)
      answer.give()
    }
    try await held(board)
    for _ in 0..<100 { await Task.yield() }
    #expect(!answer.isGiven)
    await board.standsStill(trip, at: board.current(trip).revision)
    try await holding.value
  }
}
