import Plugins
import Projection
import Subprocess
import Telemetry

/// A plugin that is a child process: pages go to its standard input, answers come from its standard output, a JSON object a line.
///
/// This is the conversation; ``ChildProcess`` is the process. A child that says anything out of turn is ended, as nobody can tell any more what
/// its answers are about, and the next page finds a new one.
actor ExecPlugin: Plugin {
  private let shard: ShardName
  private let database: String
  private let mode: PluginLines.Mode
  private let plugin: PluginDefinition
  private let observer: any Observer

  private let starts: AsyncStream<Int64>
  private let start: AsyncStream<Int64>.Continuation
  /// The child that runs, or is about to.
  private var child: Child?
  private var nextChild = 1
  private var awaited: Awaited?
  private var output = OutputLimit()

  private struct Child {
    var number: Int
    var process: ChildProcess?
    var isReady = false
    /// Why it is being ended; nil while nobody asked for that.
    var problem: PluginProblem?
    var isAsked = false
    var lastWords: String?
  }

  /// What is waited for: the child's first word, or its answer to a page.
  private struct Awaited {
    var child: Int
    var slice: EventSlice?
    /// The last piece of the page is on its way; an answer before that is none.
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
    for await position in starts {
      guard let number = child?.number else { continue }
      await runChild(number, position)
    }
    try Task.checkCancellation()
  }

  func end() async {
    start.finish()
    child?.isAsked = true
    await child?.process?.end(.closing)
  }

  func standDown() async {
    guard let number = child?.number else { return }
    child?.isAsked = true
    await child?.process?.end(.closing)
    // Not for ever: one that does not go by itself is killed.
    while child?.number == number, !Task.isCancelled { try? await Task.sleep(for: .milliseconds(5)) }
  }

  func prepare(position: Int64) async throws {
    if let child, child.isReady, child.problem == nil, !child.isAsked { return }
    try await talk(waitingFor: "its first word", count: nil) { [self] in try await firstWord(position) }
  }

  func apply(_ slice: EventSlice) async throws -> PluginAnswer {
    try await prepare(position: slice.page.floor)
    let what = "the answer to the page after \(slice.page.floor) of \(slice.count) events"
    return try await talk(waitingFor: what, count: slice.count) { [self] in try await handOver(slice) }
  }

  /// Whatever goes wrong in a conversation is the end of the child.
  private func talk<T: Sendable>(
    waitingFor what: String, count: Int?, _ work: @escaping @Sendable () async throws -> T
  ) async throws -> T {
    do {
      return try await PluginPatience.wait(plugin.timeout, for: what, work)
    } catch {
      let problem = error as? PluginProblem
      await giveUp(child?.number ?? 0, problem ?? .wrongAnswer("was not waited for any longer"))
      throw error
    }
  }

  // MARK: The conversation

  private func firstWord(_ position: Int64) async throws {
    if child == nil || child?.problem != nil || child?.isAsked == true {
      // One that is ending is waited for by `run`, which starts them one after the other.
      let number = nextChild
      nextChild += 1
      pending = Child(number: number)
      awaited = Awaited(child: number)
      if child == nil { child = pending.take() }
      start.yield(position)
    } else {
      awaited = Awaited(child: child!.number)
    }
    _ = try await outcome()
  }

  private var pending: Child?

  private func handOver(_ slice: EventSlice) async throws -> PluginAnswer {
    guard let child, child.isReady, let process = child.process else {
      throw PluginProblem.ended(how: "ended before it was given a page", lastWords: self.child?.lastWords)
    }
    awaited = Awaited(child: child.number, slice: slice)
    var lines = EventLines(slice)
    var piece = PluginLines.page(slice.page, count: slice.count)
    if let first = lines.piece() { piece += first }
    while true {
      let isLast = lines.isAtEnd
      if isLast { awaited?.isHandedOver = true }
      // One that is gone is noticed by its end, which says more than a broken pipe.
      guard await process.write(piece) else { break }
      if case .failure? = awaited?.outcome { break }
      guard !isLast, let next = lines.piece() else { break }
      piece = next
    }
    guard let answer = try await outcome() else { throw PluginProblem.wrongAnswer("answered nothing") }
    return answer
  }

  private func outcome() async throws -> PluginAnswer? {
    try await withTaskCancellationHandler {
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
      Task { await self.settle(.failure(CancellationError())) }
    }
  }

  private func settle(_ outcome: Result<PluginAnswer?, any Error>) {
    guard let awaiting = awaited else { return }
    if let continuation = awaiting.continuation {
      awaited = nil
      continuation.resume(with: outcome)
    } else if awaiting.outcome == nil {
      awaited?.outcome = outcome
    }
  }

  private func giveUp(_ number: Int, _ problem: PluginProblem) async {
    if awaited?.child == number { settle(.failure(problem)) }
    guard child?.number == number, child?.problem == nil else { return }
    child?.problem = problem
    await child?.process?.end(.terminating)
  }

  // MARK: What the child says

  private func received(_ message: PluginMessage, from number: Int) async {
    switch message {
    case .log(let level, let text): say(level, text)
    case .ready(let version):
      guard awaited?.child == number, awaited?.slice == nil, child?.isReady == false else {
        return await giveUp(number, .wrongAnswer("said that it is ready a second time"))
      }
      guard version == PluginLimits.protocolVersion else {
        return await giveUp(
          number, .refused("it speaks protocol \(version), and this daemon \(PluginLimits.protocolVersion)"))
      }
      child?.isReady = true
      settle(.success(nil))
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
    observer.observe(.pluginSaid(shard, level: level.rawValue, text: text))
  }

  // MARK: The child

  private func runChild(_ number: Int, _ position: Int64) async {
    let process = ChildProcess(plugin)
    child?.process = process
    if child?.isAsked == true { await process.end(.closing) }
    let hello = PluginLines.hello(shard: "\(shard)", database: database, mode: mode, position: position)
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
    do throws(PluginProblem) {
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

  private func ended(_ number: Int, _ outcome: ChildProcess.Outcome) {
    guard let child, child.number == number else { return }
    let dropped = output.takeDropped()
    if dropped > 0 { observer.observe(.pluginLinesDropped(shard, count: dropped)) }
    let problem: PluginProblem
    switch outcome {
    case .notStarted(let reason): problem = .notStarted(program: plugin.programName, reason: reason)
    case .ended(let how):
      problem = child.problem ?? .ended(how: how, lastWords: child.lastWords)
      if child.isAsked || child.problem != nil {
        observer.observe(.pluginEnded(shard, how: how))
      } else {
        observer.observe(.pluginLost(shard, failure: Failure(problem)))
      }
    }
    self.child = pending.take()
    if awaited?.child == number { settle(.failure(problem)) }
  }
}
