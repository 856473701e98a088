import Operator
import Foundation
import Glibc
import Postgres
import Processes
import Sandbox
import Synchronization

/// A rebuild of Trip with concurrent readers, compared with one statement that does the same work at once, and its
/// effect on a reader.
enum Rebuild {
  private static let projection = CatchUp.trip.projection + "\nkey = \"id\"\n"

  static func measure(_ bench: Bench) async throws -> [Figure] {
    let count = bench.isQuick ? 200_000 : 1_000_000
    let database = try await bench.database()
    try await database.install(projection)
    try await database.load(events: count, .lifetimes)
    // The read model as the live shard leaves it.
    _ = try await database.session.script(CatchUp.trip.statement)
    _ = try await database.session.script("INSERT INTO mt_event_progression VALUES ('Trip:All', \(count))")
    _ = try await database.session.script("VACUUM ANALYZE trip")
    let rows = try await database.session.execute("SELECT count(*) FROM trip").rows[0].get(0, as: Int.self)
    _ = try await database.session.script("CREATE TABLE again (LIKE trip INCLUDING ALL)")
    let statement = CatchUp.trip.statement.replacing("INSERT INTO trip AS", with: "INSERT INTO again AS")
    var times: [String: [Double]] = [:]
    var waits: [Double] = []
    var fewest = Int.max
    for _ in 0..<bench.runs {
      _ = try await database.session.script("TRUNCATE again; CHECKPOINT")
      _ = try await database.session.script("RESET work_mem")
      times["plain", default: []].append(try await seconds { _ = try await database.session.script(statement) })
      _ = try await database.session.script("TRUNCATE again; CHECKPOINT")
      _ = try await database.session.script(CatchUp.sameMemory)
      times["statement", default: []].append(try await seconds { _ = try await database.session.script(statement) })
      for workers in [1, 2] {
        _ = try await database.session.script("CHECKPOINT")
        times["\(workers)", default: []].append(try await rebuild(bench, database, workers: workers))
      }
      let seen = try await watched(database) { _ = try await rebuild(bench, database, workers: 1) }
      waits.append(seen.longest * 1000)
      fewest = min(fewest, seen.fewest)
      let legs = try await database.session.execute("SELECT sum(legs)::bigint FROM trip").rows[0].get(0, as: Int.self)
      guard legs == count else { throw Trouble("the rebuilt trip is wrong: \(legs) legs of \(count)") }
    }
    let ratio = { (workers: String, to: String) in zip(times[to]!, times[workers]!).map { $0 / $1 } }
    return [
      Figure("rebuild Trip: one worker", "events/s", times["1"]!.map { Double(count) / $0 }, .higher),
      Figure(
        "rebuild Trip: one worker to statement, with the server's work_mem", "ratio", ratio("1", "plain"), .higher),
      Figure(
        "rebuild Trip: two workers to statement, with the server's work_mem", "ratio", ratio("2", "plain"), .higher),
      Figure(
        "rebuild Trip: one worker to statement, with the daemon's work_mem", "ratio", ratio("1", "statement"), .higher,
        target: 0.7),
      Figure(
        "rebuild Trip: two workers to statement, with the daemon's work_mem", "ratio", ratio("2", "statement"), .higher,
        target: 1.0),
      Figure("rebuild Trip: rows a reader missed at most", "rows", [Double(max(0, rows - fewest))], .lower, target: 0),
      Figure("rebuild Trip: longest a reader was blocked", "ms", waits, .lower, target: 100),
    ]
  }

  /// The time from the start of the rebuild to its exchange, from its row.
  private static func rebuild(_ bench: Bench, _ database: Database, workers: Int) async throws -> Double {
    let file = "\(bench.cluster.directory)/\(UUID().uuidString).toml"
    try database.settingsText(projection).write(toFile: file, atomically: true, encoding: .utf8)
    let result = try await Launch(
      bench.program, ["rebuild", "Trip", "--here", "--workers", "\(workers)", "-c", file]
    ).run(limit: 1 << 16)
    guard result.termination.isSuccess else { throw Trouble("the rebuild failed: \(result.error)") }
    return try await database.session.execute(
      "SELECT extract(epoch FROM finished_at - started_at)::float8 FROM tidemark.rebuild"
    ).rows[0].get(0, as: Double.self)
  }

  /// Counts the rows every millisecond while the work runs.
  private static func watched(
    _ database: Database, _ work: @Sendable () async throws -> Void
  ) async throws -> (fewest: Int, longest: Double) {
    let reader = try await Session.connect(database.options, threadName: "reader")
    let ending = Ending()
    async let reading = {
      var (fewest, longest) = (Int.max, 0.0)
      while !ending.hasCome {
        // Counting all rows takes longer than a millisecond, so the query before it reads one row, and shows the wait
        // for a lock.
        longest = max(longest, try await seconds { _ = try await reader.prepared("SELECT 1 FROM trip LIMIT 1") })
        fewest = min(fewest, try await reader.prepared("SELECT count(*) FROM trip").rows[0].get(0, as: Int.self))
        try await Task.sleep(for: .milliseconds(1))
      }
      return (fewest, longest)
    }()
    try await work()
    ending.come()
    let seen = try await reading
    await reader.close()
    return seen
  }

  /// A separate type, since the compiler of Swift 6.0 crashes on a mutex that an `async let` uses.
  private final class Ending: Sendable {
    private let state = Mutex(false)
    var hasCome: Bool { state.withLock { $0 } }
    func come() { state.withLock { $0 = true } }
  }
}
