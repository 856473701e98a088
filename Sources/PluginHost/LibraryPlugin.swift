import Concurrency
import Plugins
import Postgres
import Rules
import Telemetry

/// A plugin that is a shared object: called on a thread of its own, and never waited for beyond its time.
///
/// A call into the library cannot be cut short. One that takes too long is left alone: its page counts as not answered, its answer, should
/// it come, as none, and the next page waits until it is back.
actor LibraryPlugin: Plugin {
  private let shard: ShardName
  private let plugin: PluginDefinition
  private let opening: Library.Opening
  private let library: Library
  private let observer: any Observer

  private let ends: AsyncStream<Void>
  private let ending: AsyncStream<Void>.Continuation
  private var isOpen = false
  /// The instance that is open, or may be: one that was not waited for opens late.
  private var instance: Int?
  private var lastInstance = 0
  /// Calls are numbered; the answer of one that was given up on is nobody's.
  private var lastCall = 0
  private var isBusy = false
  private var awaited: (call: Int, continuation: CheckedContinuation<PluginAnswer?, any Error>)?
  private let waitingForIdle = Waiters<Void, Void>()

  init(
    shard: ShardName, plugin: PluginDefinition, database: String = "main", mode: PluginLines.Mode = .continuous,
    observer: any Observer
  ) {
    guard case .library(let path, let config) = plugin.program else { preconditionFailure("it is a library") }
    self.shard = shard
    self.plugin = plugin
    self.observer = observer
    opening = Library.Opening(config: config, shard: "\(shard)", database: database, mode: mode.rawValue)
    library = Library(path: path, shard: shard, observer: observer)
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
    // One that never opened has nothing to finish, and its close waits behind its opening.
    guard wasOpen else {
      let library = library
      Task.detached { await library.close(ending) }
      return
    }
    // In a task of its own: what is open is closed also where the shard was cancelled.
    let closing = Task { [self] in
      try await PluginPatience.wait(PluginPatience.afterClose, for: "its end") { [self] in
        _ = try await call { library in
          await library.close(ending)
          return nil
        }
      }
    }
    var how = "was closed"
    if case .failure = await closing.result {
      // One that is stuck is closed when it is back, if it ever is; the process ends without it.
      how = "has not returned, and is closed when it does"
      let library = library
      Task.detached { await library.close(ending) }
    }
    observer.observe(.pluginEnded(shard, how: how))
  }

  func end() async {
    await standDown()
    ending.finish()
  }

  func prepare(position: Int64) async throws {
    guard !isOpen else { return }
    if instance == nil { lastInstance += 1 }
    let opened = instance ?? lastInstance
    instance = opened
    try await PluginPatience.wait(plugin.timeout, for: "it to open", afterStop: .zero) { [self] in
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
      plugin.timeout, for: "the answer to the page after \(slice.page.floor) of \(slice.count) events"
    ) { [self] in
      try await call { library in try await library.apply(slice) }
    }
    guard let answer else { throw Problem.wrongAnswer("answered nothing") }
    if let problem = PluginAnswerCheck.problem(with: answer, to: slice, isHandedOver: true) { throw problem }
    return answer
  }

  // MARK: Calls

  /// Has one call made on the library's thread, when the one before it is back. Cancelling gives up the wait and not the call.
  private func call(
    _ work: @escaping @Sendable (Library) async throws -> PluginAnswer?
  ) async throws -> PluginAnswer? {
    while isBusy { try await waitingForIdle.wait() }
    try Task.checkCancellation()
    isBusy = true
    lastCall += 1
    let (number, library) = (lastCall, library)
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        awaited = (number, continuation)
        // Not a child of the task that waits, which must be able to leave.
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
