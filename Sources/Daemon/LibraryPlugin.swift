import Plugins
import Postgres
import Projection
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
    guard isOpen else { return }
    isOpen = false
    // One that is stuck stays; the process ends without it.
    _ = try? await PluginPatience.wait(PluginPatience.afterClose, for: "its end") { [self] in
      _ = try await call { library in
        await library.close()
        return nil
      }
    }
    observer.observe(.pluginEnded(shard, how: "was closed"))
  }

  func end() async {
    await standDown()
    ending.finish()
  }

  func prepare(position: Int64) async throws {
    guard !isOpen else { return }
    try await PluginPatience.wait(plugin.timeout, for: "it to open") { [self] in
      let opening = opening
      _ = try await call { library in
        try await library.open(opening, position: position)
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
    guard let answer else { throw PluginProblem.wrongAnswer("answered nothing") }
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
