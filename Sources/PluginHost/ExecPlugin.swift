import Concurrency
import Glibc
import Plugins
import Processes
import Rules
import Telemetry

/// A plugin that is a child process: reads pages from its standard input and writes answers to its standard output, one JSON object
/// per line.
///
/// This is the conversation; ``ChildProcess`` is the process. A child that sends a message out of turn is ended, since its answers can no
/// longer be matched to pages; the next page starts a new child.
actor ExecPlugin: Plugin {
  private let shard: ShardName
  private let database: String
  private let mode: PluginLines.Mode
  private let plugin: PluginDefinition
  private let observer: any Observer

  private let starts: AsyncStream<Void>
  private let start: AsyncStream<Void>.Continuation
  /// The child that runs or is about to start.
  private var child: Child?
  /// The child that starts once the current one has exited.
  private var pending: Child?
  private var nextChild = 1
  private var awaited: Awaited?
  private var nextWait = 1
  /// The problem of a child that failed while no caller waited; the next page throws it.
  private var untold: Problem?
  private var output = OutputLimit()

  private struct Child {
    var number: Int
    /// The position in its greeting.
    var position: Int64
    var process: ChildProcess?
    var isReady = false
    /// Why the daemon ends it; nil while it does not.
    var problem: Problem?
    /// A caller was told the problem.
    var isTold = false
    var isAsked = false
    var lastWords: String?

    var isEnding: Bool { problem != nil || isAsked }
  }

  /// A wait for the child's ready message, or for its answer to a page.
  private struct Awaited {
    /// Waits are numbered, so that cancelling one does not end the next.
    var number: Int
    var child: Int
    var slice: EventSlice?
    /// Set once the last piece of the page is being written; an answer before that does not count.
    var isHandedOver = false
    var outcome: Result<PluginAnswer?, any Error>?
    var continuation: CheckedContinuation<PluginAnswer?, any Error>?
  }

  init(
    shard: ShardName, plugin: PluginDefinition, database: String = "main", mode: PluginLines.Mode = .continuous,
    observer: any Observer
  ) {
    self.shard = shard
    self.plugin = plugin
    self.database = database
    self.mode = mode
    self.observer = observer
    (starts, start) = AsyncStream.makeStream()
  }

  // MARK: For the shard

  func run() async throws {
    for await _ in starts {
      // The child to start may have been dismissed.
      if child?.isEnding == true { child = pending.take() }
      guard let child else { continue }
      await runChild(child)
    }
    try Task.checkCancellation()
  }

  func end() async {
    start.finish()
    await dismiss()
  }

  func standDown() async {
    await dismiss()
    untold = nil
    guard let number = child?.number else { return }
    // This ends: a child that does not exit on request is killed.
    while child?.number == number, !Task.isCancelled { try? await Task.sleep(for: .milliseconds(5)) }
    untold = nil
  }

  /// Asks the child to exit, and cancels the start of the next one.
  private func dismiss() async {
    pending = nil
    if child?.process == nil { child = nil }
    child?.isAsked = true
    // A child that is not ready has no page to finish, so a stopping daemon does not wait for it.
    let isHurried = child?.isReady == false && Stop.current.isRequested
    await child?.process?.end(.closing(patience: isHurried ? PluginPatience.beforeReady : PluginPatience.afterClose))
  }

  func prepare(position: Int64) async throws {
    if let problem = untold.take() { throw problem }
    if let child, child.isReady, !child.isEnding { return }
    try await talk("report ready", afterStop: .zero) { [self] in try await beReady(position) }
  }

  func apply(_ slice: EventSlice) async throws -> PluginAnswer {
    try await prepare(position: slice.page.floor)
    let step = "answer the page after \(slice.page.floor) of \(slice.count) events"
    return try await talk(step, afterStop: PluginPatience.afterStop) { [self] in try await handOver(slice) }
  }

  /// Ends the child on any error of the conversation.
  private func talk<T: Sendable>(
    _ step: String, afterStop: Duration, _ work: @escaping @Sendable () async throws -> T
  ) async throws -> T {
    do {
      return try await PluginPatience.wait(plugin.timeout, to: step, afterStop: afterStop, work)
    } catch {
      let problem = error as? Problem
      await giveUp(child?.number ?? 0, problem ?? .wrongAnswer("was not waited for any longer"), isTold: true)
      throw error
    }
  }

  // MARK: The conversation

  private func beReady(_ position: Int64) async throws {
    let awaitedChild: Int
    if let child, !child.isEnding {
      awaitedChild = child.number
    } else {
      // `run` starts children one after the other, so it waits for one that is ending.
      awaitedChild = nextChild
      nextChild += 1
      pending = Child(number: awaitedChild, position: position)
      if child == nil { child = pending.take() }
      start.yield()
    }
    expect(awaitedChild)
    _ = try await outcome()
  }

  private func expect(_ child: Int, _ slice: EventSlice? = nil) {
    awaited = Awaited(number: nextWait, child: child, slice: slice)
    nextWait += 1
  }

  private func handOver(_ slice: EventSlice) async throws -> PluginAnswer {
    guard let child, child.isReady, let process = child.process else {
      throw Problem.ended(how: "exited before it was handed a page", lastWords: self.child?.lastWords)
    }
    expect(child.number, slice)
    var lines = EventLines(slice)
    var piece = PluginLines.page(slice.page, count: slice.count)
    if let first = lines.piece() { piece += first }
    while true {
      let isLast = lines.isAtEnd
      if isLast { awaited?.isHandedOver = true }
      guard await process.write(piece) else {
        notHandedOver()
        break
      }
      if case .failure? = awaited?.outcome { break }
      guard !isLast, let next = lines.piece() else { break }
      piece = next
    }
    guard let answer = try await outcome() else { throw Problem.wrongAnswer("answered nothing") }
    return answer
  }

  /// The exit of a child is reported separately, and says more than a broken pipe. A child that still runs has not read its page, so its
  /// answer cannot be right.
  private func notHandedOver() {
    awaited?.isHandedOver = false
    guard case .success(let answer?)? = awaited?.outcome, let slice = awaited?.slice,
      let problem = PluginAnswerCheck.problem(with: answer, to: slice, isHandedOver: false)
    else { return }
    awaited?.outcome = .failure(problem)
  }

  private func outcome() async throws -> PluginAnswer? {
    let number = awaited?.number
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<PluginAnswer?, any Error>) in
        if let outcome = awaited?.outcome {
          awaited = nil
          continuation.resume(with: outcome)
        } else if Task.isCancelled || awaited == nil {
          awaited = nil
          continuation.resume(throwing: CancellationError())
        } else {
          awaited?.continuation = continuation
        }
      }
    } onCancel: {
      Task { await self.cancel(number) }
    }
  }

  private func cancel(_ number: Int?) {
    if awaited?.number == number { settle(.failure(CancellationError())) }
  }

  /// Returns false if no caller waits.
  @discardableResult
  private func settle(_ outcome: Result<PluginAnswer?, any Error>) -> Bool {
    guard let awaiting = awaited, awaiting.outcome == nil else { return false }
    if let continuation = awaiting.continuation {
      awaited = nil
      continuation.resume(with: outcome)
    } else {
      awaited?.outcome = outcome
    }
    return true
  }

  /// - Parameter isTold: a caller was told the problem.
  private func giveUp(_ number: Int, _ problem: Problem, isTold: Bool = false) async {
    let isTold = (awaited?.child == number && settle(.failure(problem))) || isTold
    guard child?.number == number, child?.problem == nil else { return }
    child?.problem = problem
    child?.isTold = isTold
    await child?.process?.end(.terminating)
  }

  // MARK: Messages of the child

  private func received(_ message: PluginMessage, from number: Int) async {
    switch message {
    case .log(let level, let text): for part in OutputLimit.parts(of: text) { say(level, part) }
    case .ready(let version):
      guard child?.number == number, child?.isReady == false else {
        return await giveUp(number, .wrongAnswer("reported ready a second time"))
      }
      guard version == PluginLimits.protocolVersion else {
        return await giveUp(number, .otherProtocol(version))
      }
      child?.isReady = true
      // The caller that waited for this may have been cancelled.
      if awaited?.child == number { settle(.success(nil)) }
    case .refused(let reason): await giveUp(number, .refused(reason))
    case .answer(let answer):
      guard let awaited, awaited.child == number, let slice = awaited.slice, awaited.outcome == nil else {
        return await giveUp(number, .wrongAnswer("answered before it was handed a page"))
      }
      if let problem = PluginAnswerCheck.problem(with: answer, to: slice, isHandedOver: awaited.isHandedOver) {
        return await giveUp(number, problem)
      }
      settle(.success(answer))
    }
  }

  private func say(_ level: PluginLogLevel, _ text: String) {
    switch output.meet(at: .now) {
    case .drop: return
    case .passAfter(let dropped): observer.observe(.pluginLinesDropped(shard, count: dropped))
    case .pass: break
    }
    observer.observe(.pluginSaid(shard, level: LogLevel(level), text: text))
  }

  // MARK: The child

  private func runChild(_ starting: Child) async {
    let (process, number) = (ChildProcess(plugin), starting.number)
    child?.process = process
    let hello = PluginLines.hello(shard: "\(shard)", database: database, mode: mode, position: starting.position)
    let outcome = await process.run { event in
      switch event {
      case .started(let pid):
        self.observer.observe(.pluginStarted(self.shard, pid: Int(pid)))
        _ = await process.write(hello)
      case .line(let line): await self.read(line, from: number)
      case .error(let line): await self.note(line)
      case .tooLong(let problem): await self.giveUp(number, problem)
      case .outputClosed: await self.giveUp(number, .closedOutput)
      }
    }
    ended(number, outcome)
  }

  private func read(_ line: [UInt8], from number: Int) async {
    do throws(Problem) {
      await received(try PluginMessage.parse(line), from: number)
    } catch {
      await giveUp(number, error)
    }
  }

  private func note(_ line: [UInt8]) {
    let text = String(decoding: line, as: UTF8.self)
    child?.lastWords = text
    say(.info, text)
  }

  /// Only systemd's sandbox is known; it tells its services by this variable.
  private func remedy(after termination: Termination?, _ lastWords: String?) -> String? {
    guard getenv("INVOCATION_ID") != nil else { return nil }
    let signal: Int32? = if case .signaled(let signal) = termination { signal } else { nil }
    return SandboxRemedy.of(signal: signal, lastWords: lastWords)
  }

  private func ended(_ number: Int, _ outcome: ChildProcess.Outcome) {
    guard let child, child.number == number else { return }
    let dropped = output.takeDropped()
    if dropped > 0 { observer.observe(.pluginLinesDropped(shard, count: dropped)) }
    let problem: Problem
    switch outcome {
    case .notStarted(let reason):
      problem = Problem.notStarted(program: plugin.programName, reason: reason).concealed(by: plugin.concealment)
    case .ended(let termination):
      let how = termination?.description ?? "was ended"
      problem =
        child.problem
        ?? .ended(how: how, lastWords: child.lastWords, remedy: remedy(after: termination, child.lastWords))
      if child.isAsked || child.isTold {
        observer.observe(.pluginEnded(shard, how: how))
      } else {
        observer.observe(.pluginLost(shard, failure: problem.shortened))
      }
    }
    self.child = pending.take()
    let isTold = (awaited?.child == number && settle(.failure(problem))) || child.isTold
    if !isTold, !child.isAsked { untold = problem }
  }
}
