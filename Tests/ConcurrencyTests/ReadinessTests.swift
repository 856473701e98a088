import CLinux
import Glibc
import Synchronization
import Testing

@testable import Concurrency

@Suite struct `A wait for a descriptor` {
  /// A pair of connected sockets.
  private final class Pair: Sendable {
    let near: Int32
    let far: Int32

    init() {
      var ends: [Int32] = [0, 0]
      let kind = SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
      precondition(socketpair(AF_UNIX, Int32(kind), 0, &ends) == 0)
      (near, far) = (ends[0], ends[1])
    }

    func say() { _ = write(far, "x", 1) }
    func hear() { var byte: UInt8 = 0; _ = read(near, &byte, 1) }
    func fill() { while write(near, [UInt8](repeating: 0, count: 4096), 4096) > 0 {} }
    func drain() {
      var bytes = [UInt8](repeating: 0, count: 4096)
      while read(far, &bytes, 4096) > 0 {}
    }
    func close() {
      Glibc.close(near)
      Glibc.close(far)
    }
  }

  private final class Notes: Sendable {
    private let words = Mutex<[String]>([])
    var all: [String] { words.withLock { $0 } }
    func add(_ word: String) { words.withLock { $0.append(word) } }
  }

  @Test func `ends when there is input, at once if there is input already`() async throws {
    let pair = Pair()
    defer { pair.close() }
    pair.say()
    try await Readiness.shared.readable(pair.near)
    pair.hear()
    for _ in 0..<100 {
      async let wait: Void = Readiness.shared.readable(pair.near)
      pair.say()
      try await wait
      pair.hear()
    }
  }

  @Test func `ends when the other side closes, in both directions`() async throws {
    let pair = Pair()
    pair.fill()
    async let reading: Void = Readiness.shared.readable(pair.near)
    async let writing: Void = Readiness.shared.writable(pair.near)
    try await Task.sleep(for: .milliseconds(5))
    close(pair.far)
    _ = try await (reading, writing)
    close(pair.near)
  }

  @Test func `for one direction is not ended by the other`() async throws {
    let pair = Pair()
    defer { pair.close() }
    pair.fill()
    let order = Notes()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        try await Readiness.shared.readable(pair.near)
        order.add("read")
        // It was full until now: the other wait continues, and is armed.
        pair.drain()
      }
      group.addTask {
        try await Readiness.shared.writable(pair.near)
        order.add("written")
      }
      try await Task.sleep(for: .milliseconds(5))
      pair.say()
      try await group.waitForAll()
    }
    #expect(order.all == ["read", "written"])
  }

  @Test func `ends at once for a plain file, and fails for a closed descriptor`() async throws {
    let file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC)
    try await Readiness.shared.readable(file)
    close(file)
    await #expect(throws: Readiness.Problem(code: EBADF)) { try await Readiness.shared.readable(987_654) }
  }

  @Test func `ends at once when its task is cancelled, before or during the wait`() async throws {
    let pair = Pair()
    defer { pair.close() }
    for pause in [Duration.zero, .milliseconds(2)] {
      let task = Task { try await Readiness.shared.readable(pair.near) }
      try await Task.sleep(for: pause)
      task.cancel()
      await #expect(throws: CancellationError.self) { try await task.value }
    }
    // No cancelled wait stays behind to take the event of the next one.
    pair.say()
    try await Readiness.shared.readable(pair.near)
  }

  @Test func `ends at its limit, and continues in a cancelled task if told to`() async throws {
    let pair = Pair()
    defer { pair.close() }
    let began = ContinuousClock.now
    // An earlier wait with a later deadline, which must not delay the thread.
    let later = Task { try await Readiness.shared.wait(for: .reading, of: pair.near, within: .seconds(120)) }
    try await Task.sleep(for: .milliseconds(10))
    let task = Task {
      try await Readiness.shared.wait(for: .reading, of: pair.near, within: .milliseconds(50), evenIfCancelled: true)
    }
    task.cancel()
    #expect(try await !task.value)
    let took = ContinuousClock.now - began
    #expect(took >= .milliseconds(50) && took < .seconds(60), "\(took)")
    later.cancel()
    await #expect(throws: CancellationError.self) { try await later.value }
    pair.say()
    #expect(try await Readiness.shared.wait(for: .reading, of: pair.near, within: .seconds(10)))
  }

  @Test func `ends when its descriptor is released, even a moment before the wait`() async throws {
    for round in 0..<200 {
      let pair = Pair()
      let isGone = Mutex(false)
      let wait = Task {
        try await Readiness.shared.wait(for: .reading, of: pair.near, unless: { isGone.withLock { $0 } })
      }
      if round % 2 == 0 { await Task.yield() }
      isGone.withLock { $0 = true }
      Readiness.shared.release(pair.near)
      await #expect(throws: CancellationError.self) { _ = try await wait.value }
      pair.close()
    }
  }

  @Test func `is one of many, each of which gets its own event`() async throws {
    let pairs = (0..<200).map { _ in Pair() }
    defer { for pair in pairs { pair.close() } }
    let heard = Notes()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for pair in pairs {
        group.addTask {
          for _ in 0..<20 {
            try await Readiness.shared.readable(pair.near)
            pair.hear()
            heard.add("x")
            pair.say()
          }
        }
        pair.say()
      }
      try await group.waitForAll()
    }
    #expect(heard.all.count == 4000)
  }

  @Test func `survives that other files get its number, again and again`() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<4 {
        group.addTask {
          var random = SystemRandomNumberGenerator()
          for _ in 0..<300 {
            let pair = Pair()
            let wait = Task { try await Readiness.shared.readable(pair.near) }
            if Bool.random(using: &random) { await Task.yield() }
            if Bool.random(using: &random) {
              pair.say()
              try await wait.value
            } else {
              wait.cancel()
              _ = await wait.result
            }
            pair.close()
          }
        }
      }
      try await group.waitForAll()
    }
  }

  @Test func `for a pidfd ends with the process`() async throws {
    var process = pid_t()
    let words: [UnsafeMutablePointer<CChar>?] = [strdup("/bin/sleep"), strdup("0.05"), nil]
    defer { for word in words { free(word) } }
    try #require(posix_spawn(&process, "/bin/sleep", nil, nil, words, nil) == 0)
    let descriptor = tidemark_pidfd(process)
    defer { close(descriptor) }
    try await Readiness.shared.readable(descriptor)
    var status: Int32 = -1
    #expect(waitpid(process, &status, WNOHANG) == process && status == 0)
  }

  @Test func `uses one thread for all waits, which blocks every signal`() async throws {
    let pair = Pair()
    defer { pair.close() }
    pair.say()
    try await Readiness.shared.readable(pair.near)
    let directory = try #require(opendir("/proc/self/task"))
    defer { closedir(directory) }
    var masks: [UInt64] = []
    while let entry = readdir(directory) {
      let task = withUnsafeBytes(of: &entry.pointee.d_name) {
        String(cString: $0.bindMemory(to: CChar.self).baseAddress!)
      }
      let status = contents(of: "/proc/self/task/\(task)/status").split(separator: "\n")
      guard status.first == "Name:\treadiness" else { continue }
      let mask = status.first { $0.hasPrefix("SigBlk:") }?.split(separator: "\t").last
      masks.append(mask.flatMap { UInt64($0, radix: 16) } ?? 0)
    }
    #expect(masks.count == 1 && masks[0] & (1 << (SIGTERM - 1)) != 0 && masks[0] & (1 << (SIGCHLD - 1)) != 0)
  }

  private func contents(of path: String) -> String {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 8192)
    let count = read(file, &bytes, bytes.count)
    return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
  }
}
