import Glibc
import Processes
import Testing

@Suite struct `A child that runs` {
  @Test func `reads its input and writes output at the same time`() async throws {
    let child = try await Launch("cat", input: .pipe).start()
    let bytes = (0..<(3 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    async let writing: Void = {
      for piece in 0..<3 { try await child.input?.write(Array(bytes[(piece << 20)..<(piece + 1) << 20])) }
      child.input?.close()
    }()
    var back: [UInt8] = []
    while let chunk = try await child.output?.read(), !chunk.isEmpty { back += chunk }
    try await writing
    #expect(back == bytes && back.count == bytes.count)
    #expect(await child.waitForEnd() == .exited(0))
  }

  @Test func `that has exited makes a write fail, without a SIGPIPE`() async throws {
    let before = signal(SIGPIPE, SIG_DFL)
    defer { signal(SIGPIPE, before) }
    let child = try await Launch("true", input: .pipe).start()
    #expect(try await child.hasEnded(within: .seconds(20)))
    // Another child that starts at the same time may hold the pipe until it runs its program.
    try await eventually("the pipe is broken") {
      do {
        try await child.input?.write([1])
        return false
      } catch PipeProblem.broken {
        return true
      }
    }
    var pending = sigset_t()
    sigpending(&pending)
    #expect(sigismember(&pending, SIGPIPE) == 0)
    await child.kill()
    // During a write that waits, too.
    let reader = try await shell("sleep 0.05; exec <&-; exec sleep 60", input: .pipe).start()
    await #expect(throws: PipeProblem.broken) {
      try await reader.input?.write([UInt8](repeating: 0, count: 1 << 20))
    }
    await reader.kill()
  }

  @Test func `floods its output while it is written to, without a deadlock`() async throws {
    let child = try await shell("yes | head -c 20000000 & wc -c >&2; wait", input: .pipe).start()
    async let writing: Void = {
      try await child.input?.write([UInt8](repeating: 1, count: 5 << 20))
      child.input?.close()
    }()
    let result = try await child.collect(limit: 32 << 20)
    try await writing
    #expect(result.termination == .exited(0) && result.output.utf8.count == 20_000_000, "\(result.error)")
    #expect(result.error == "\(5 << 20)\n")
  }

  @Test func `that floods without a reader waits, and can be ended`() async throws {
    let child = try await Launch("yes").start()
    // A full pipe holds it.
    try await eventually("it waits") { Proc.state(child.pid) == "S" }
    #expect(await child.tearDown() == .signaled(SIGTERM))
    // The output it had written can be read, and then the end.
    var count = 0
    while let chunk = try await child.output?.read(), !chunk.isEmpty { count += chunk.count }
    #expect(count == 1 << 16)
  }

  @Test func `that writes more than the limit is ended`() async throws {
    let child = try await Launch("yes").start()
    await #expect(throws: ChildOutcome.TooMuch(limitBytes: 100_000)) { try await child.collect(limit: 100_000) }
    #expect(child.hasEnded && Proc.state(child.pid) == nil)
  }

  @Test func `may close its output and keep running`() async throws {
    let child = try await shell("echo last; exec >&- 2>&-; exec sleep 60").start()
    #expect(try await child.output?.read() == Array("last\n".utf8))
    #expect(try await child.output?.read() == [])
    #expect(try await child.error?.read() == [])
    // It lives until it is killed.
    #expect(await child.kill() == .signaled(SIGKILL))
    // Collecting its output still waits for its exit.
    #expect(try await shell("exec >&- 2>&-; sleep 0.1; exit 3").run().termination == .exited(3))
  }

  @Test func `leaves children in its group, which end with it`() async throws {
    let result = try await shell("sleep 1000 & echo $!").run()
    let left = try #require(Int32(result.output.dropLast()))
    try await eventually("it is gone") { Proc.state(left) == nil || Proc.state(left) == "Z" }
    #expect(result.termination == .exited(0))
    // Even long after the child has exited.
    let child = try await shell("trap '' TERM; (trap '' TERM; exec sleep 1000) & echo $!").start()
    let bytes = try #require(try await child.output?.read())
    let stubborn = try #require(Int32(String(decoding: bytes, as: UTF8.self).dropLast()))
    #expect(try await child.hasEnded(within: .seconds(20)))
    #expect(Proc.state(child.pid) == "Z" && Proc.state(stubborn) != nil)
    #expect(await child.tearDown() == .exited(0))
    try await eventually("it is gone") { Proc.state(stubborn) == nil || Proc.state(stubborn) == "Z" }
  }

  @Test func `leaves a child outside its group that keeps its output open, without delaying its end`() async throws {
    let began = ContinuousClock.now
    let result = try await shell("setsid sh -c 'echo $$; exec sleep 1000' & sleep 0.1; echo last").run()
    let words = result.output.split(separator: "\n")
    defer { if let pid = words.first.flatMap({ Int32($0) }) { kill(pid, SIGKILL) } }
    #expect(words.count == 2 && words.last == "last" && result.termination == .exited(0), "\(result)")
    #expect(ContinuousClock.now - began < .seconds(600), "the child left behind would take 1000 s")
  }

  @Test func `gets SIGTERM, and SIGKILL if it does not exit`() async throws {
    let polite = try await shell("trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.01; done").start()
    #expect(try await polite.output?.read() == Array("ready\n".utf8))
    #expect(await polite.tearDown(patience: .seconds(20)) == .exited(5))
    #expect(try await polite.output?.read() == Array("bye\n".utf8))
    let stubborn = try await shell("trap '' TERM; echo ready; while :; do sleep 0.01; done").start()
    _ = try await stubborn.output?.read()
    #expect(await stubborn.tearDown(patience: .milliseconds(30)) == .signaled(SIGKILL))
  }

  @Test func `gets signals until it has exited, and no other process does afterwards`() async throws {
    let child = try await shell("trap 'exit 9' USR1; echo ready; while :; do sleep 0.01; done").start()
    _ = try await child.output?.read()
    child.send(SIGUSR1)
    try await child.end()
    // It has exited, and no other process has its pid yet.
    #expect(child.hasEnded && Proc.state(child.pid) == "Z")
    child.send(SIGKILL)
    child.sendToGroup(SIGKILL)
    #expect(await child.waitForEnd() == .exited(9))
    #expect(Proc.state(child.pid) == nil)
    child.send(SIGKILL)
    child.sendToGroup(SIGKILL)
    // A second wait returns the same.
    #expect(await child.waitForEnd() == .exited(9) && child.hasEnded)
  }

  @Test func `may have several tasks that wait for its end`() async throws {
    let child = try await shell("sleep 0.05; exit 4").start()
    await withTaskGroup(of: Termination.self) { group in
      for _ in 0..<8 { group.addTask { await child.waitForEnd() } }
      for await termination in group { #expect(termination == .exited(4)) }
    }
  }

  @Test func `may have its input closed during a write, or its output during a read`() async throws {
    for _ in 0..<50 {
      let child = try await Launch("sleep", ["60"], input: .pipe).start()
      let writing = Task { try await child.input?.write([UInt8](repeating: 0, count: 1 << 20)) }
      let reading = Task { try await child.output?.read() }
      if Bool.random() { try await Task.sleep(for: .milliseconds(1)) }
      child.input?.close()
      child.output?.close()
      await #expect(throws: PipeProblem.closed) { try await writing.value }
      await #expect(throws: PipeProblem.closed) { _ = try await reading.value }
      await child.kill()
    }
  }
}

@Suite struct `A child whose task is cancelled` {
  @Test(arguments: [0, 1, 20]) func `ends with its group`(after pause: Int) async throws {
    let scratch = try Scratch()
    let task = Task {
      try await shell("echo $$ >> \(scratch.path("pids")); sleep 1000 & echo $! >> \(scratch.path("pids")); wait").run()
    }
    try await Task.sleep(for: .milliseconds(pause))
    task.cancel()
    await #expect(throws: CancellationError.self) { try await task.value }
    for pid in scratch.contents("pids").split(separator: "\n").compactMap({ Int32($0) }) {
      try await eventually("\(pid) is gone") { Proc.state(pid) == nil || Proc.state(pid) == "Z" }
    }
  }

  @Test func `is killed if it ignores SIGTERM, and leaves nothing behind`() async throws {
    let child = try await shell("trap '' TERM; echo ready; while :; do sleep 0.01; done").start()
    _ = try await child.output?.read()
    let task = Task { try await child.collect(limit: 1000) }
    try await Task.sleep(for: .milliseconds(5))
    task.cancel()
    await #expect(throws: CancellationError.self) { try await task.value }
    #expect(Proc.state(child.pid) == nil)
    #expect(await child.waitForEnd() == .signaled(SIGKILL))
  }

  @Test func `has its writes, reads and waits ended at once`() async throws {
    let child = try await Launch("sleep", ["60"], input: .pipe).start()
    let tasks: [Task<Void, any Error>] = [
      Task { try await child.input?.write([UInt8](repeating: 0, count: 1 << 20)) },
      Task { _ = try await child.output?.read() },
      Task { try await child.end() },
      Task { _ = try await child.hasEnded(within: .seconds(60)) },
    ]
    try await Task.sleep(for: .milliseconds(5))
    for task in tasks { task.cancel() }
    for task in tasks { await #expect(throws: CancellationError.self) { try await task.value } }
    #expect(!child.hasEnded)
    await child.kill()
  }
}
