import Glibc
import Processes
import Synchronization
import Testing

/// A thousand starts must leave nothing behind.
@Suite(.serialized) struct `A thousand children` {
  private static var descriptors: Int { Proc.names("/proc/self/fd").count }
  private static var threads: Int { Proc.names("/proc/self/task").count }

  /// Descriptors and threads that concurrent tests may open meanwhile: far fewer than one per child.
  private static let others = 200

  private func areGone(_ pids: [Int32], descriptors: Int, threads: Int) async throws {
    #expect(pids.count == 1000)
    let parents = pids.filter { Proc.field("PPid", in: Proc.contents("/proc/\($0)/status")) == "\(getpid())" }
    #expect(parents.isEmpty, "are still ours, dead or alive")
    try await eventually("their descriptors and threads are gone") {
      Self.descriptors < descriptors + Self.others && Self.threads < threads + 20
    }
  }

  /// Runs the body while other work keeps the processors busy.
  private func underLoad(_ body: () async throws -> Void) async throws {
    let loads = try await [0, 1].concurrently { _ in try await shell("while :; do :; done").start() }
    try await body()
    for load in loads { await load.kill() }
  }

  @Test func `one after another under load leave nothing behind`() async throws {
    let (descriptors, threads) = (Self.descriptors, Self.threads)
    try await underLoad {
      var pids: [Int32] = []
      for number in 0..<1000 {
        let child = try await Launch("/bin/echo", ["\(number)"], input: .pipe).start()
        pids.append(child.pid)
        let result = try await child.collect(limit: 100)
        #expect(result.output == "\(number)\n" && result.termination == .exited(0))
      }
      try await areGone(pids, descriptors: descriptors, threads: threads)
    }
  }

  @Test func `many at once under load leave nothing behind, however they end`() async throws {
    let (descriptors, threads) = (Self.descriptors, Self.threads)
    try await underLoad {
      let pids = try await Array(0..<25).concurrently { lane in
        var pids: [Int32] = []
        for number in 0..<40 {
          let script = ["exit \(number)", "kill -KILL $$", "exec sleep 60", "exec >&- 2>&-; exec sleep 60", "yes"][
            number % 5]
          let child = try await shell(script, input: .pipe).start()
          pids.append(child.pid)
          switch number % 5 {
          case 0: #expect(try await child.collect(limit: 100).termination == .exited(Int32(number)))
          case 1: #expect(try await child.collect(limit: 100).termination == .signaled(SIGKILL))
          case 2: #expect(await child.kill() == .signaled(SIGKILL))
          case 3: #expect(await child.tearDown(patience: .seconds(60)) == .signaled(SIGTERM))
          default: await #expect(throws: ChildOutcome.TooMuch.self) { try await child.collect(limit: 100) }
          }
        }
        return pids
      }
      try await areGone(pids.flatMap { $0 }, descriptors: descriptors, threads: threads)
    }
  }

  @Test func `cancelled at any moment leave nothing behind`() async throws {
    let (descriptors, threads) = (Self.descriptors, Self.threads)
    let pids = try await Array(0..<20).concurrently { _ in
      var pids: [Int32] = []
      for _ in 0..<50 {
        let child = try await Launch("cat", input: .pipe).start()
        pids.append(child.pid)
        let task = Task {
          async let writing: Void? = child.input?.write([UInt8](repeating: 0, count: 1 << 20))
          _ = try await child.collect(limit: 2 << 20)
          try await writing
        }
        try await Task.sleep(for: .microseconds(Int.random(in: 0..<2000)))
        task.cancel()
        _ = await task.result
      }
      return pids
    }
    try await areGone(pids.flatMap { $0 }, descriptors: descriptors, threads: threads)
  }
}

extension Array where Element: Sendable {
  fileprivate func concurrently<T: Sendable>(_ work: @escaping @Sendable (Element) async throws -> T) async throws
    -> [T]
  {
    try await withThrowingTaskGroup(of: T.self) { group in
      for element in self { group.addTask { try await work(element) } }
      var results: [T] = []
      for try await result in group { results.append(result) }
      return results
    }
  }
}
