import Concurrency
import Plugins
import Postgres
import Rules
import Telemetry

/// A plugin that is a shared object: called on a thread of its own, and waited for no longer than its timeout.
///
/// A call into the library cannot be interrupted. When one takes too long, its page counts as not answered, a late answer is ignored, and
/// the next page waits until the call returns.
actor LibraryPlugin: Plugin {
  private let shard: ShardName
  private let plugin: PluginDefinition
  private let opening: Library.Opening
  private let path: String
  /// Made with the first call, as the system may have no thread for it before.
  private var library: Library?
  private let observer: any Observer

  private let ends: AsyncStream<Void>
  private let ending: AsyncStream<Void>.Continuation
  private var isOpen = false
  /// The instance that is open, or may open late because the wait for it timed out.
  private var instance: Int?
  private var lastInstance = 0
  /// Calls are numbered, so that a late answer is not taken for the next call's.
  private var lastCall = 0
  private var isBusy = false
  private var awaited: (call: Int, continuation: CheckedContinuation<PluginAnswer?, any Error>)?
  private let waitingForIdle = Waiters<Void, Void>()

  init(
    shard: ShardName, plugin: PluginDefinition, database: String = "main", mode: PluginLines.Mode = .continuous,
    observer: any Observer
  ) {
    guard case .library(let path, let config) = plugin.program else { preconditionFailure("not a library") }
    self.shard = shard
    self.plugin = plugin
    self.observer = observer
    opening = Library.Opening(config: config, shard: "\(shard)", database: database, mode: mode.rawValue)
    self.path = path
    (ends, ending) = AsyncStream.makeStream()
  }

  func run() async throws {
    for await _ in ends {}
    try Task.checkCancellation()
  }

  func standDown() async {
    guard let ending = instance else { return }
    let wasOpen = isOpen
    (instance, isOpen) = (nil, false)
    // An instance that never opened has nothing to finish, and its close waits behind its opening.
    guard wasOpen else {
      if let library { Task.detached { await library.close(ending) } }
      return
    }
    // In a task of its own, so that an open instance is closed even if the shard was cancelled.
    let closing = Task { [self] in
      try await PluginPatience.wait(PluginPatience.afterClose, to: "return from close") { [self] in
        _ = try await call { library in
          await library.close(ending)
          return nil
        }
      }
    }
    var how = "was closed"
    if case .failure = await closing.result {
      // A stuck call may never return; the daemon exits without closing the plugin then.
      how = "has not returned from close; it is closed once it returns"
      if let library { Task.detached { await library.close(ending) } }
    }
    observer.observe(.pluginEnded(shard, how: how))
  }

  func end() async {
    await standDown()
    ending.finish()
  }

  func prepare(position: Int64) async throws {
    guard !isOpen else {
      // A call that came back late says nothing of the events that wait for it.
      guard isBusy else { return }
      return try await PluginPatience.wait(plugin.timeout, to: "return from an earlier call", afterStop: .zero) {
        [self] in try await idle()
      }
    }
    if instance == nil { lastInstance += 1 }
    let opened = instance ?? lastInstance
    instance = opened
    try await PluginPatience.wait(plugin.timeout, to: "return from open", afterStop: .zero) { [self] in
      let opening = opening
      _ = try await call { library in
        try await library.open(opening, position: position, instance: opened)
        return nil
      }
    }
    isOpen = true
    observer.observe(.pluginStarted(shard, pid: nil))
  }

  func apply(_ slice: EventSlice) async throws -> PluginAnswer {
    try await prepare(position: slice.page.floor)
    let answer = try await PluginPatience.wait(
      plugin.timeout, to: "answer the page after \(slice.page.floor) of \(slice.count) events"
    ) { [self] in
      try await call { library in try await library.apply(slice) }
    }
    guard let answer else { throw Problem.wrongAnswer("answered nothing") }
    if let problem = PluginAnswerCheck.problem(with: answer, to: slice, isHandedOver: true) { throw problem }
    return answer
  }

  // MARK: Calls

  /// Makes one call on the library's thread, after the previous call has returned. Cancelling ends the wait, not the call.
  private func call(
    _ work: @escaping @Sendable (Library) async throws -> PluginAnswer?
  ) async throws -> PluginAnswer? {
    try await idle()
    try Task.checkCancellation()
    let library = try self.library ?? Library(path: path, shard: shard, observer: observer)
    self.library = library
    isBusy = true
    lastCall += 1
    let number = lastCall
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        awaited = (number, continuation)
        // Not a child task: the waiting task must be able to return first.
        Task.detached { [self] in
          let result: Result<PluginAnswer?, any Error>
          do { result = .success(try await work(library)) } catch { result = .failure(error) }
          await returned(number, result)
        }
      }
    } onCancel: {
      Task { await self.giveUp(number) }
    }
  }

  private func idle() async throws { while isBusy { try await waitingForIdle.wait() } }

  private func returned(_ number: Int, _ result: Result<PluginAnswer?, any Error>) {
    isBusy = false
    if let awaited, awaited.call == number {
      self.awaited = nil
      awaited.continuation.resume(with: result)
    }
    waitingForIdle.tell()
  }

  private func giveUp(_ number: Int) {
    guard let awaited, awaited.call == number else { return }
    self.awaited = nil
    awaited.continuation.resume(throwing: CancellationError())
  }
}
