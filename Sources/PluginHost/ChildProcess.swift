import Glibc
import Plugins
import Processes
import Rules

/// One child process: started, read from, written to, and ended together with whatever it has started itself.
///
/// It has a process group of its own, so that a Ctrl-C at the daemon's terminal does not reach it and a signal to the group reaches its
/// children. When this is over nothing of the group is left, except what has put itself into a group of its own.
actor ChildProcess {
  private let plugin: PluginDefinition
  private let endings: AsyncStream<Ending>
  private let ending: AsyncStream<Ending>.Continuation
  private var child: Child?

  /// How it is asked to go.
  enum Ending: Sendable {
    /// By the end of its input, and as below where it takes longer than its patience.
    case closing(patience: Duration)
    /// By SIGTERM, then by SIGKILL.
    case terminating
  }

  enum Event: Sendable {
    case started(pid_t)
    /// Of its standard output.
    case line([UInt8])
    /// Of its standard error.
    case error([UInt8])
    case tooLong(Problem)
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
    guard let input = child?.input else { return false }
    do {
      try await input.write(bytes)
      return true
    } catch {
      // Its end is noticed by itself, and says more than a broken pipe.
      return false
    }
  }

  /// Runs it to its end; when the task is cancelled, that is at once.
  nonisolated func run(_ handle: @escaping @Sendable (Event) async -> Void) async -> Outcome {
    guard case .exec(let command) = plugin.program else { return .notStarted("it is no program") }
    let child: Child
    do {
      child = try await launch(command).start()
    } catch let problem as StartProblem {
      return .notStarted(plugin.reasonHere ?? problem.reason)
    } catch {
      return .ended("was ended")
    }
    await begin(child)
    await handle(.started(child.pid))
    await converse(child, handle)
    child.input?.close()
    // What has ended by now is not waited for, and what is left of its group is killed.
    return .ended("\(await child.tearDown(patience: Self.patienceWhenCancelled))")
  }

  /// Between SIGTERM and SIGKILL, where nobody has the time to ask it.
  private static let patienceWhenCancelled = Duration.milliseconds(100)
  /// How long its streams are read when it has ended: a child of its own that has left the group may keep them open for ever.
  private static let lastWords = Duration.milliseconds(500)

  private func begin(_ child: Child) { self.child = child }

  /// What has come to its end in a conversation.
  private enum Part {
    case stream, child, lastWords, ending
  }

  private nonisolated func converse(_ child: Child, _ handle: @escaping @Sendable (Event) async -> Void) async {
    await withTaskGroup(of: Part.self) { group in
      group.addTask {
        await self.readOutput(child, handle)
        return .stream
      }
      group.addTask {
        await self.readErrors(child, handle)
        return .stream
      }
      group.addTask {
        do { try await child.end() } catch { return .ending }
        // Whatever it has left behind would keep its streams open.
        child.sendToGroup(SIGKILL)
        return .child
      }
      group.addTask {
        await self.finish(child)
        return .ending
      }
      var (openStreams, hasEnded) = (2, false)
      for await part in group {
        switch part {
        case .stream: openStreams -= 1
        case .child:
          hasEnded = true
          group.addTask {
            try? await Task.sleep(for: Self.lastWords)
            return .lastWords
          }
        case .lastWords: group.cancelAll()
        case .ending: break
        }
        if hasEnded, openStreams == 0 { group.cancelAll() }
      }
    }
  }

  private nonisolated func readOutput(_ child: Child, _ handle: @escaping @Sendable (Event) async -> Void) async {
    var lines = LineSplitter()
    do {
      while let bytes = try await child.output?.read(), !bytes.isEmpty {
        for line in try lines.take(bytes) where !Task.isCancelled { await handle(.line(line)) }
      }
      // The end of the child closes its output too, a moment before it can be seen.
      if try await !child.hasEnded(within: .milliseconds(200)) { await handle(.outputClosed) }
    } catch let problem as Problem {
      return await handle(.tooLong(problem))
    } catch is CancellationError {
      return
    } catch {
      // It cannot be read any more, so nothing can be said to it either.
      await handle(.outputClosed)
    }
    await end(.terminating)
  }

  private nonisolated func readErrors(_ child: Child, _ handle: @escaping @Sendable (Event) async -> Void) async {
    var lines = LineSplitter(limit: OutputLimit.lineBytes, cutsLongLines: true)
    do {
      while let bytes = try await child.error?.read(), !bytes.isEmpty {
        for line in try lines.take(bytes) where !Task.isCancelled { await handle(.error(line)) }
      }
    } catch {
      // Its standard error cannot be read any more, or need not be; its answers can.
    }
    if let rest = lines.takeRest() { await handle(.error(rest)) }
  }

  /// Waits until it is asked to go, and sees to it that it does.
  private nonisolated func finish(_ child: Child) async {
    var how: Ending?
    for await asked in endings {
      how = asked
      break
    }
    guard let how, !Task.isCancelled else { return }
    child.input?.close()
    do {
      if case .closing(let patience) = how, try await child.hasEnded(within: patience) { return }
      child.sendToGroup(SIGTERM)
      if try await child.hasEnded(within: PluginPatience.afterTerminate) { return }
      child.sendToGroup(SIGKILL)
    } catch {
      // Cancelled, as it has ended or has no time left: `run` tears it down.
    }
  }

  /// In the daemon's own environment, without what systemd means for the daemon alone.
  private nonisolated func launch(_ command: [String]) -> Launch {
    var changes: [String: String?] = [:]
    for name in ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
      changes[name] = .some(nil)
    }
    for (name, value) in plugin.environment { changes[name] = value }
    return Launch(
      command[0], Array(command.dropFirst()), environment: .inherited(changes), directory: plugin.workingDirectory,
      input: .pipe)
  }
}
