import Glibc
import Plugins
import Processes
import Rules

/// One child process: starts it, reads its output, writes its input, and ends it together with the processes that it started.
///
/// It has a process group of its own, so that a Ctrl-C at the daemon's terminal does not reach it and a signal to the group reaches its
/// children. Once ``run(_:)`` returns, every process of the group has exited, and so have the ``Descendants`` that left it.
actor ChildProcess {
  private let plugin: PluginDefinition
  private let endings: AsyncStream<Ending>
  private let ending: AsyncStream<Ending>.Continuation
  private var child: Child?
  private let descendants = Descendants()

  /// How to end the child.
  enum Ending: Sendable {
    /// Close its input; if it does not exit within `patience`, terminate it.
    case closing(patience: Duration)
    /// Send SIGTERM, then SIGKILL.
    case terminating
  }

  enum Event: Sendable {
    case started(pid_t)
    /// A line of its standard output.
    case line([UInt8])
    /// A line of its standard error.
    case error([UInt8])
    case tooLong(Problem)
    /// It closed its standard output, but still runs.
    case outputClosed
  }

  enum Outcome: Sendable {
    case notStarted(String)
    /// Nil if that is unknown.
    case ended(Termination?)
  }

  init(_ plugin: PluginDefinition) {
    self.plugin = plugin
    (endings, ending) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(4))
  }

  func end(_ how: Ending) { ending.yield(how) }

  /// Writes all bytes, waiting for the child to read them; returns false if it cannot. Callers must wait for the previous write.
  func write(_ bytes: [UInt8]) async -> Bool {
    guard let input = child?.input else { return false }
    do {
      try await input.write(bytes)
      return true
    } catch {
      // The exit of the child is reported separately, and says more than a broken pipe.
      return false
    }
  }

  /// Runs the child until it exits; cancelling the task kills it.
  nonisolated func run(_ handle: @escaping @Sendable (Event) async -> Void) async -> Outcome {
    guard case .exec(let command) = plugin.program else { return .notStarted("it is not a program") }
    let child: Child
    do {
      child = try await launch(command).start()
    } catch let problem as StartProblem {
      return .notStarted(plugin.reasonHere ?? problem.reason)
    } catch {
      return .ended(nil)
    }
    await begin(child)
    await handle(.started(child.pid))
    await converse(child, handle)
    child.input?.close()
    // Returns at once if the child has exited, and kills the rest of its group.
    let termination = await child.tearDown(patience: Self.patienceWhenCancelled)
    descendants.kill()
    return .ended(termination)
  }

  /// The time between SIGTERM and SIGKILL when the task was cancelled.
  private static let patienceWhenCancelled = Duration.milliseconds(100)
  /// How long to read its streams after it exited: a process that it started, and that left the group, may never close them.
  private static let lastWords = Duration.milliseconds(500)

  private func begin(_ child: Child) { self.child = child }

  /// The part of a conversation that ended.
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
        // Processes that it left behind would keep its streams open.
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
      // A child that exits closes its output too, a moment before its exit can be seen.
      if try await !child.hasEnded(within: .milliseconds(200)) { await handle(.outputClosed) }
    } catch let problem as Problem {
      return await handle(.tooLong(problem))
    } catch is CancellationError {
      return
    } catch {
      // Without its answers there is no use in writing to it.
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
      // Standard error failed, or the task was cancelled; answers on standard output still count.
    }
    if let rest = lines.takeRest() { await handle(.error(rest)) }
  }

  /// Waits for a request to end the child, then ends it.
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
      // Cancelled: the child exited, or its time is over. `run` tears it down.
    }
  }

  /// Uses the daemon's environment, without the variables that systemd sets for the daemon alone, its credentials, and what libpq reads,
  /// a password among it: a plugin has these where `env` gives them.
  private nonisolated func launch(_ command: [String]) -> Launch {
    var changes: [String: String?] = [:]
    let own = [
      "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES",
      "CREDENTIALS_DIRECTORY",
    ]
    for name in own + OwnEnvironment.variables.keys.filter({ $0.hasPrefix("PG") }) { changes[name] = .some(nil) }
    for (name, value) in plugin.environment { changes[name] = value }
    changes[Descendants.variable] = descendants.mark
    return Launch(
      command[0], Array(command.dropFirst()), environment: .inherited(changes), directory: plugin.workingDirectory,
      input: .pipe)
  }
}
