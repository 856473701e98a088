package import Postgres

/// An application that appends events as applications do, including some bad habits.
///
/// It appends trips and accounts through `tidemark.append`. Some transactions roll back, some roll back to a savepoint
/// and continue, some take their numbers early and commit late. One seed determines everything.
package struct SampleWriter: Sendable {
  /// How transactions behave; shares are in percent.
  package struct Habits: Sendable {
    package var rollbacks = 10
    package var savepoints = 10
    package var slowCommits = 5
    /// The longest a slow transaction stays open.
    package var slowness = Duration.milliseconds(40)
    /// The time between two transactions.
    package var pause = Duration.milliseconds(2)
    /// The most events in one transaction.
    package var eventsPerTransaction = 6

    package init() {}
  }

  package var seed: UInt64
  package var habits: Habits

  package init(seed: UInt64, habits: Habits = Habits()) {
    self.seed = seed
    self.habits = habits
  }

  /// Writes until the task is cancelled or `transactions` are done. Returns how many events were committed.
  @discardableResult
  package func run(_ options: ConnectionOptions, transactions: Int = .max) async throws -> Int {
    let session = try await Session.connect(options, threadName: "writer")
    var random = SplitMix(seed: seed)
    var streams: [Stream] = []
    var committed = 0
    for _ in 0..<transactions {
      if Task.isCancelled { break }
      do {
        committed += try await transaction(session, &streams, &random)
        try await Task.sleep(for: habits.pause * Double.random(in: 0...2, using: &random))
      } catch let error as PostgresError where error.sqlState == "TM302" || error.sqlState == .deadlockDetected {
        try await session.script("ROLLBACK")
      } catch is CancellationError {
        break
      } catch let error as PostgresError where error.isCancelled {
        break
      }
    }
    await session.close()
    return committed
  }

  private struct Stream {
    var id: String
    var isTrip: Bool
    var version: Int64
  }

  /// One transaction on one stream; the stream's version moves only when it commits.
  private func transaction(_ session: Session, _ streams: inout [Stream], _ random: inout SplitMix) async throws -> Int
  {
    var index = Int.random(in: 0...max(8, streams.count), using: &random)
    let isNew = index >= streams.count
    if isNew {
      index = streams.count
      streams.append(Stream(id: random.uuid(), isTrip: Bool.random(using: &random), version: 0))
    }
    var stream = streams[index]
    let count = Int.random(in: 1...habits.eventsPerTransaction, using: &random)
    let dice = Int.random(in: 0..<100, using: &random)

    try await session.script("BEGIN")
    if dice < habits.rollbacks + habits.savepoints {
      try await session.script("SAVEPOINT before")
      _ = try await append(session, stream, count: 1, &random)
      if dice < habits.rollbacks {
        try await session.script("ROLLBACK")
        if isNew { streams.removeLast() }
        return 0
      }
      try await session.script("ROLLBACK TO SAVEPOINT before")
    }
    stream.version = try await append(session, stream, count: count, &random)
    if Int.random(in: 0..<100, using: &random) < habits.slowCommits {
      try await Task.sleep(for: habits.slowness * Double.random(in: 0...1, using: &random))
    }
    try await session.script("COMMIT")
    streams[index] = stream
    return count
  }

  private func append(_ session: Session, _ stream: Stream, count: Int, _ random: inout SplitMix) async throws -> Int64
  {
    var events: [String] = []
    for offset in 0..<count {
      let isFirst = stream.version == 0 && offset == 0
      let amount = Int.random(in: 1...9_999, using: &random)
      switch (stream.isTrip, isFirst) {
      case (true, true): events.append(#"{"type":"trip_started","data":{"Driver":"driver \#(amount % 40)"}}"#)
      case (true, false):
        let day = "2026-03-\(10 + amount % 20)"
        events.append(#"{"type":"travel","data":{"Traveled":\#(amount / 100).\#(10 + amount % 90),"Day":"\#(day)"}}"#)
      case (false, true): events.append(#"{"type":"account_opened","data":{"Owner":"owner \#(amount % 40)"}}"#)
      case (false, false): events.append(#"{"type":"money_moved","data":{"Amount":\#(amount - 5_000)}}"#)
      }
    }
    let array = "[\(events.joined(separator: ","))]"
    return try await session.prepared(
      "SELECT version FROM tidemark.append(\(stream.id)::uuid, \(array)::jsonb, \(stream.version)::bigint)"
    ).rows[0].get("version", as: Int64.self)
  }
}

/// A small seeded generator (SplitMix64), so that a run can be repeated.
package struct SplitMix: RandomNumberGenerator, Sendable {
  private var state: UInt64

  package init(seed: UInt64) { state = seed }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// A version 4 UUID.
  package mutating func uuid() -> String {
    var hex = Array(String(next() | 1 << 63, radix: 16) + String(next() | 1 << 63, radix: 16))
    hex[12] = "4"
    hex[16] = "a"
    return [0..<8, 8..<12, 12..<16, 16..<20, 20..<32].map { String(hex[$0]) }.joined(separator: "-")
  }
}
