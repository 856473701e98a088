import Glibc
import Plugins
import Projection
import Subprocess
import SystemPackage

/// One child process: started, read from, written to, and ended together with whatever it has started itself.
///
/// It has a process group of its own, so that a Ctrl-C at the daemon's terminal does not reach it and a signal to the group reaches its
/// children. When this is over nothing of the group is left, except what has put itself into a group of its own.
actor ChildProcess {
  private let plugin: PluginDefinition
  private let endings: AsyncStream<Ending>
  private let ending: AsyncStream<Ending>.Continuation
  private var writer: StandardInputWriter?
  /// The write under way. It is over before the pipe is closed, whose number may be that of another file a moment later.
  private var writing: Task<Bool, Never>?
  /// Of its output and its errors, how many are still read.
  private var openStreams = 2

  /// How it is asked to go.
  enum Ending: Sendable {
    /// By the end of its input, then as below.
    case closing
    /// By SIGTERM, then by SIGKILL.
    case terminating
  }

  enum Event: Sendable {
    case started(pid_t)
    /// Of its standard output.
    case line([UInt8])
    /// Of its standard error.
    case error([UInt8])
    case tooLong(PluginProblem)
    /// Its standard output has ended, and it lives.
    case outputClosed
  }

  enum Outcome: Sendable {
    case notStarted(String)
    /// "ended with status 1", "was ended by signal 9".
    case ended(String)
  }

  init(_ plugin: PluginDefinition) {
    self.plugin = plugin
    (endings, ending) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(4))
  }

  func end(_ how: Ending) { ending.yield(how) }

  /// Writes all of it, waiting for the child to read; false where it cannot. Whoever writes waits for the last write.
  func write(_ bytes: [UInt8]) async -> Bool {
    guard let writer else { return false }
    let writing = Task { (try? await writer.write(bytes)) == bytes.count }
    self.writing = writing
    return await withTaskCancellationHandler {
      await writing.value
    } onCancel: {
      writing.cancel()
    }
  }

  /// Nothing is written any more when this returns.
  private func stopWriting() async {
    writer = nil
    writing?.cancel()
    _ = await writing?.value
  }

  /// Runs it to its end; when the task is cancelled, that is at once.
  nonisolated func run(_ handle: @escaping @Sendable (Event) async -> Void) async -> Outcome {
    guard case .exec(let command) = plugin.program else { return .notStarted("it is no program") }
    var options = PlatformOptions()
    options.processGroupID = 0
    options.teardownSequence = [
      .send(signal: .terminate, toProcessGroup: true, allowedDurationToNextStep: .milliseconds(100))
    ]
    // Writing to a child that is gone must be an error and not the end of this process.
    signal(SIGPIPE, SIG_IGN)
    do {
      let result = try await Subprocess.run(
        command[0].contains("/") ? .path(FilePath(command[0])) : .name(command[0]),
        arguments: Arguments(Array(command.dropFirst())), environment: environment,
        workingDirectory: plugin.workingDirectory.map { FilePath($0) }, platformOptions: options,
        input: .inputWriter, output: .sequence, error: .sequence
      ) { execution in
        // Nothing has waited for the child yet, so its number still names its group.
        defer { kill(-execution.processIdentifier.value, SIGKILL) }
        await converse(execution, handle)
      }
      return .ended(Self.words(result.terminationStatus))
    } catch let error as SubprocessError {
      return .notStarted(reason(error, program: command[0]))
    } catch {
      return .ended("was ended")
    }
  }

  private typealias Running = Execution<CustomWriteInput, SequenceOutput, SequenceOutput>

  private nonisolated func converse(_ execution: Running, _ handle: @escaping @Sendable (Event) async -> Void) async {
    let pid = execution.processIdentifier.value
    await begin(execution.standardInputWriter)
    await handle(.started(pid))
    await withTaskGroup(of: Bool.self) { group in
      group.addTask {
        await self.read(execution.standardOutput, pid, handle)
        await self.streamEnded()
        return false
      }
      group.addTask {
        var lines = LineSplitter(limit: OutputLimit.lineBytes, cutsLongLines: true)
        do {
          for try await buffer in execution.standardError {
            for line in try lines.take(buffer.withUnsafeBytes { Array($0) }) where !Task.isCancelled {
              await handle(.error(line))
            }
            // What floods it has no end, and what has left the group is not killed.
            if Task.isCancelled { break }
          }
        } catch {
          // Its standard error cannot be read any more; its answers can.
        }
        if let rest = lines.takeRest() { await handle(.error(rest)) }
        await self.streamEnded()
        return false
      }
      group.addTask {
        await self.finish(execution)
        return true
      }
      for await isOver in group where isOver { group.cancelAll() }
    }
    await stopWriting()
  }

  private func begin(_ writer: StandardInputWriter) { self.writer = writer }

  private nonisolated func read(
    _ output: SubprocessOutputSequence, _ pid: pid_t, _ handle: @escaping @Sendable (Event) async -> Void
  ) async {
    var lines = LineSplitter()
    do {
      for try await buffer in output {
        for line in try lines.take(buffer.withUnsafeBytes { Array($0) }) where !Task.isCancelled {
          await handle(.line(line))
        }
        if Task.isCancelled { break }
      }
    } catch let problem as PluginProblem {
      return await handle(.tooLong(problem))
    } catch {
      // Told below: nothing can be read any more.
    }
    // The end of the child closes its output too, a moment before it can be seen.
    if await !Self.hasEnded(pid, within: .milliseconds(200)), !Task.isCancelled { await handle(.outputClosed) }
    await end(.terminating)
  }

  /// Waits until it is asked to go, and sees to it that it does.
  private nonisolated func finish(_ execution: Running) async {
    var how: Ending?
    for await asked in endings {
      how = asked
      break
    }
    // Cancelled: `run` tears it down.
    guard let how, !Task.isCancelled else { return }
    await stopWriting()
    try? await execution.standardInputWriter.finish()
    let pid = execution.processIdentifier.value
    var isOver = false
    if how == .closing { isOver = await Self.hasEnded(pid, within: PluginPatience.afterClose) }
    if !isOver {
      await execution.teardown(
        using: [
          .send(signal: .terminate, toProcessGroup: true, allowedDurationToNextStep: PluginPatience.afterTerminate)
        ])
    }
    kill(-pid, SIGKILL)
    // Its last words are worth a moment; a child of its own that has left the group may keep the pipe open for ever.
    let deadline = ContinuousClock.now + .milliseconds(200)
    while await openStreams > 0, ContinuousClock.now < deadline { try? await Task.sleep(for: .milliseconds(5)) }
  }

  private func streamEnded() { openStreams -= 1 }

  /// Looks without taking its status away from whoever waits for it.
  private static func hasEnded(_ pid: pid_t, within limit: Duration) async -> Bool {
    let deadline = ContinuousClock.now + limit
    while true {
      var info = siginfo_t()
      let status = waitid(P_PID, id_t(pid), &info, WEXITED | WNOHANG | WNOWAIT)
      if status != 0 || info.si_signo == SIGCHLD { return true }
      guard ContinuousClock.now < deadline, !Task.isCancelled else { return false }
      try? await Task.sleep(for: .milliseconds(5))
    }
  }

  /// The daemon's own, without what systemd means for the daemon alone.
  private nonisolated var environment: Environment {
    var changes: [Environment.Key: String?] = [:]
    for name in ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
      changes[Environment.Key(stringLiteral: name)] = .some(nil)
    }
    for (name, value) in plugin.environment { changes[Environment.Key(stringLiteral: name)] = value }
    return .inherit.updating(changes)
  }

  private nonisolated func reason(_ error: SubprocessError, program: String) -> String {
    plugin.problemHere?.reason ?? error.underlyingError.map { "\($0)" } ?? "\(error)"
  }

  private static func words(_ status: TerminationStatus) -> String {
    switch status {
    case .exited(let code): "ended with status \(code)"
    case .signaled(let signal): "was ended by signal \(signal)"
    }
  }
}
