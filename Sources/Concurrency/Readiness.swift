import CLinux
import Glibc
import Synchronization

/// Tells tasks when a descriptor can be read from or written to, without blocking a thread of the pool for each.
///
/// One thread waits in epoll for all of them. It starts with the first wait, lives as long as the process, and blocks
/// all signals. A descriptor is armed for one event at a time and only while a task waits for it, so that unread input
/// wakes no thread.
///
/// Rules for a caller:
/// - Try first, and wait only on EAGAIN: a wait costs two changes of thread.
/// - A wait may end early. Try again, and wait again.
/// - A descriptor stays open while a task waits for it. To close it, call ``release(_:)``, let all its users see that
///   it is gone, and then close it: another file may get its number a moment later.
package final class Readiness: Sendable {
  package static let shared = Readiness()

  package enum Direction: Hashable, Sendable {
    /// There is input, or the input has ended. For a pidfd: the process has ended.
    case reading
    /// There is room for output, or the reader is gone.
    case writing
  }

  /// The system cannot wait for this descriptor: it is closed, or there is no memory left.
  package struct Problem: Error, Hashable, Sendable, CustomStringConvertible {
    package var code: Int32
    package var description: String { "cannot wait for a descriptor: \(String(cString: strerror(code)))" }
  }

  private struct Waiter {
    var id: Int
    var direction: Direction
    var deadline: ContinuousClock.Instant?
    var continuation: CheckedContinuation<Bool, any Error>
  }

  private struct State {
    var nextID = 0
    var waiting: [Int32: [Waiter]] = [:]
    /// The descriptor that each waiter with a deadline waits for.
    var timed: [Int: Int32] = [:]
    /// When the thread next checks the deadlines.
    var nextLook: ContinuousClock.Instant?
  }

  private let state = Mutex(State())
  private let epoll: Int32
  /// An eventfd that tells the thread to check the deadlines again.
  private let bell: Int32

  private init() {
    epoll = Self.patiently { tidemark_epoll() }
    bell = Self.patiently { tidemark_eventfd() }
    var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data(fd: bell))
    epoll_ctl(epoll, EPOLL_CTL_ADD, bell, &event)
    _ = Self.patiently { startThread("readiness") { [self] in work() } ? 0 : -1 }
  }

  /// Tries until the system has one: without it nothing here works, and a limit may be met for a moment only. A daemon comes here at its
  /// start, where it holds nothing up yet.
  private static func patiently(_ attempt: () -> Int32) -> Int32 {
    while true {
      let result = attempt()
      if result >= 0 { return result }
      usleep(100_000)
    }
  }

  /// Waits until there is input, or the input has ended.
  ///
  /// - Throws: `CancellationError` when the task is cancelled first, or the descriptor is released; ``Problem``.
  package func readable(_ descriptor: Int32) async throws {
    _ = try await wait(for: .reading, of: descriptor)
  }

  /// Waits until there is room for output, or the reader is gone.
  ///
  /// - Throws: `CancellationError` when the task is cancelled first, or the descriptor is released; ``Problem``.
  package func writable(_ descriptor: Int32) async throws {
    _ = try await wait(for: .writing, of: descriptor)
  }

  /// Waits for one direction of a descriptor.
  ///
  /// - Parameters:
  ///   - limit: the longest wait, in whole milliseconds; nil sets no limit.
  ///   - evenIfCancelled: waits in a cancelled task too, for an event that must not be missed, such as the end of a
  ///     killed child.
  ///   - isGone: whether the descriptor's owner has begun to close it. It is called once ``release(_:)`` can find this
  ///     wait, so that a wait that begins during a release does not miss it.
  /// - Returns: false if the limit passed first.
  /// - Throws: `CancellationError` when the task is cancelled first, or the descriptor is released; ``Problem``.
  package func wait(
    for direction: Direction, of descriptor: Int32, within limit: Duration? = nil, evenIfCancelled: Bool = false,
    unless isGone: @escaping @Sendable () -> Bool = { false }
  ) async throws -> Bool {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    let begin = { (continuation: CheckedContinuation<Bool, any Error>) in
      let waiter = Waiter(
        id: id, direction: direction, deadline: limit.map { .now + $0 }, continuation: continuation)
      self.add(waiter, to: descriptor)
      if isGone() { self.cancel(id, of: descriptor) }
    }
    if evenIfCancelled { return try await withCheckedThrowingContinuation(begin) }
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        begin(continuation)
        // A cancellation that came before the wait did not find it.
        if Task.isCancelled { cancel(id, of: descriptor) }
      }
    } onCancel: {
      cancel(id, of: descriptor)
    }
  }

  /// Ends all waits for a descriptor that is about to be closed, as if their tasks were cancelled.
  package func release(_ descriptor: Int32) {
    for waiter in state.withLock({ state in take(from: descriptor, &state) { _ in true } }) {
      waiter.continuation.resume(throwing: CancellationError())
    }
  }

  private func cancel(_ id: Int, of descriptor: Int32) {
    for waiter in state.withLock({ state in take(from: descriptor, &state) { $0.id == id } }) {
      waiter.continuation.resume(throwing: CancellationError())
    }
  }

  private func add(_ waiter: Waiter, to descriptor: Int32) {
    let (problem, isEarlier) = state.withLock { state -> (Int32, Bool) in
      state.waiting[descriptor, default: []].append(waiter)
      let code = arm(descriptor, state)
      guard code == 0 else {
        _ = take(from: descriptor, &state) { $0.id == waiter.id }
        return (code, false)
      }
      guard let deadline = waiter.deadline else { return (0, false) }
      state.timed[waiter.id] = descriptor
      if let nextLook = state.nextLook, nextLook <= deadline { return (0, false) }
      state.nextLook = deadline
      return (0, true)
    }
    switch problem {
    case 0:
      var one: UInt64 = 1
      if isEarlier { _ = write(bell, &one, MemoryLayout<UInt64>.size) }
    // A plain file, or /dev/null: always ready.
    case EPERM: waiter.continuation.resume(returning: true)
    default: waiter.continuation.resume(throwing: Problem(code: problem))
    }
  }

  /// Removes waiters, and arms the descriptor for those that remain.
  ///
  /// - Parameter isDisarmed: an event came and disarmed the descriptor.
  private func take(
    from descriptor: Int32, _ state: inout State, isDisarmed: Bool = false, where isMeant: (Waiter) -> Bool
  ) -> [Waiter] {
    guard let all = state.waiting[descriptor] else { return [] }
    let taken = all.filter(isMeant)
    guard !taken.isEmpty || isDisarmed else { return [] }
    let staying = all.filter { !isMeant($0) }
    state.waiting[descriptor] = staying.isEmpty ? nil : staying
    for waiter in taken where waiter.deadline != nil { state.timed[waiter.id] = nil }
    if !(isDisarmed && staying.isEmpty) { arm(descriptor, state) }
    return taken
  }

  /// Tells the kernel which events to report. Its earlier registration of this number does not matter: it may belong to
  /// another file.
  ///
  /// - Returns: an errno(3), or 0.
  @discardableResult
  private func arm(_ descriptor: Int32, _ state: borrowing State) -> Int32 {
    let waiting = state.waiting[descriptor] ?? []
    guard !waiting.isEmpty else {
      epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, nil)
      return 0
    }
    var mask = EPOLLONESHOT.rawValue
    if waiting.contains(where: { $0.direction == .reading }) { mask |= EPOLLIN.rawValue | EPOLLRDHUP.rawValue }
    if waiting.contains(where: { $0.direction == .writing }) { mask |= EPOLLOUT.rawValue }
    var event = epoll_event(events: mask, data: epoll_data(fd: descriptor))
    if epoll_ctl(epoll, EPOLL_CTL_MOD, descriptor, &event) == 0 { return 0 }
    guard errno == ENOENT else { return errno }
    return epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0 ? 0 : errno
  }

  // MARK: The thread

  private func work() -> Never {
    var events = [epoll_event](repeating: epoll_event(), count: 64)
    var pause: Int32 = -1
    while true {
      let count = epoll_wait(epoll, &events, Int32(events.count), pause)
      var (ready, late): ([Waiter], [Waiter]) = ([], [])
      state.withLock { state in
        for event in events.prefix(max(0, Int(count))) { ready += met(by: event, &state) }
        late = expired(&state)
        pause = state.nextLook.map { Self.milliseconds(until: $0) } ?? -1
      }
      for waiter in ready { waiter.continuation.resume(returning: true) }
      for waiter in late { waiter.continuation.resume(returning: false) }
    }
  }

  private func met(by event: epoll_event, _ state: inout State) -> [Waiter] {
    let descriptor = event.data.fd
    guard descriptor != bell else {
      var rings: UInt64 = 0
      _ = read(bell, &rings, MemoryLayout<UInt64>.size)
      return []
    }
    let ends = EPOLLHUP.rawValue | EPOLLERR.rawValue
    let isReadable = event.events & (EPOLLIN.rawValue | EPOLLRDHUP.rawValue | ends) != 0
    let isWritable = event.events & (EPOLLOUT.rawValue | ends) != 0
    return take(from: descriptor, &state, isDisarmed: true) { $0.direction == .reading ? isReadable : isWritable }
  }

  /// Removes waiters whose deadline has passed, and finds the next deadline.
  private func expired(_ state: inout State) -> [Waiter] {
    guard !state.timed.isEmpty else {
      state.nextLook = nil
      return []
    }
    let now = ContinuousClock.now
    var late: [Waiter] = []
    for descriptor in Set(state.timed.values) {
      late += take(from: descriptor, &state) { $0.deadline.map { $0 <= now } ?? false }
    }
    state.nextLook = nil
    for descriptor in state.timed.values {
      for case let deadline? in state.waiting[descriptor, default: []].map(\.deadline) {
        state.nextLook = min(deadline, state.nextLook ?? deadline)
      }
    }
    return late
  }

  private static func milliseconds(until deadline: ContinuousClock.Instant) -> Int32 {
    let left = ContinuousClock.now.duration(to: deadline).components
    let milliseconds = left.seconds * 1000 + (left.attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
    return Int32(clamping: max(0, milliseconds))
  }
}
