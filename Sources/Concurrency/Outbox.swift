import Glibc

/// Hands what leaves the process to a thread of its own, in order. Its readers may take as long as they like: who puts something in never
/// waits.
///
/// Log lines to a full pipe, a journal or a service manager that hangs would otherwise block the few threads that all tasks share, and
/// with them every page, every stop and every signal. What does not fit is dropped and counted, and the count is told in its place.
package final class Outbox<Item: Sendable>: Sendable {
  private let core: Core

  /// - Parameters:
  ///   - limit: how many items may wait.
  ///   - replaces: whether the first item makes the second, which still waits, pointless.
  ///   - lost: the item that tells how many were dropped.
  ///   - send: called on the thread, one item after the other.
  package init(
    _ name: String, limit: Int, replaces: @escaping @Sendable (Item, Item) -> Bool = { _, _ in false },
    lost: @escaping @Sendable (Int) -> Item? = { _ in nil }, send: @escaping @Sendable (Item) -> Void
  ) {
    core = Core(name: name, limit: limit, replaces: replaces, lost: lost, send: send)
  }

  /// The thread ends once it has sent what waits.
  deinit { core.end() }

  /// Never waits.
  package func put(_ item: Item) { core.put(item) }

  /// Waits, on this thread, until everything is sent or the limit has passed: for the last words of a process.
  ///
  /// - Returns: whether everything is sent.
  @discardableResult
  package func drain(within limit: Duration) -> Bool { core.drain(within: limit) }

  /// What the thread shares with the outbox, and what it keeps alive.
  private final class Core: @unchecked Sendable {
    let name: String
    let limit: Int
    let replaces: @Sendable (Item, Item) -> Bool
    let lost: @Sendable (Int) -> Item?
    let send: @Sendable (Item) -> Void
    private let state: UnsafeMutablePointer<State>

    struct State {
      var mutex = pthread_mutex_t()
      /// Something is to be sent, or the thread is to end.
      var arrival = pthread_cond_t()
      /// Everything is sent.
      var rest = pthread_cond_t()
      var waiting: [Item] = []
      var dropped = 0
      var isSending = false
      var hasThread = false
      var isEnding = false

      var isAtRest: Bool { waiting.isEmpty && dropped == 0 && !isSending }
    }

    init(
      name: String, limit: Int, replaces: @escaping @Sendable (Item, Item) -> Bool,
      lost: @escaping @Sendable (Int) -> Item?, send: @escaping @Sendable (Item) -> Void
    ) {
      self.name = name
      self.limit = limit
      self.replaces = replaces
      self.lost = lost
      self.send = send
      state = .allocate(capacity: 1)
      state.initialize(to: State())
      pthread_mutex_init(&state.pointee.mutex, nil)
      pthread_cond_init(&state.pointee.arrival, nil)
      var attributes = pthread_condattr_t()
      pthread_condattr_init(&attributes)
      pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
      pthread_cond_init(&state.pointee.rest, &attributes)
      pthread_condattr_destroy(&attributes)
    }

    deinit {
      pthread_cond_destroy(&state.pointee.arrival)
      pthread_cond_destroy(&state.pointee.rest)
      pthread_mutex_destroy(&state.pointee.mutex)
      state.deinitialize(count: 1)
      state.deallocate()
    }

    func put(_ item: Item) {
      pthread_mutex_lock(&state.pointee.mutex)
      state.pointee.waiting.removeAll { replaces(item, $0) }
      if state.pointee.waiting.count < limit {
        tellLoss()
        state.pointee.waiting.append(item)
      } else {
        state.pointee.dropped += 1
      }
      // Where the system had no thread, it may have one now.
      if !state.pointee.hasThread { state.pointee.hasThread = startThread(name) { self.work() } }
      pthread_cond_signal(&state.pointee.arrival)
      pthread_mutex_unlock(&state.pointee.mutex)
    }

    /// Puts the count in the place of what was dropped. Call it under the lock.
    private func tellLoss() {
      guard state.pointee.dropped > 0 else { return }
      if let item = lost(state.pointee.dropped) { state.pointee.waiting.append(item) }
      state.pointee.dropped = 0
    }

    func end() {
      pthread_mutex_lock(&state.pointee.mutex)
      state.pointee.isEnding = true
      pthread_cond_signal(&state.pointee.arrival)
      pthread_mutex_unlock(&state.pointee.mutex)
    }

    func drain(within limit: Duration) -> Bool {
      var until = timespec()
      clock_gettime(CLOCK_MONOTONIC, &until)
      let nanoseconds = until.tv_nsec + Int(limit.components.attoseconds / 1_000_000_000)
      until.tv_sec += Int(limit.components.seconds) + nanoseconds / 1_000_000_000
      until.tv_nsec = nanoseconds % 1_000_000_000
      pthread_mutex_lock(&state.pointee.mutex)
      defer { pthread_mutex_unlock(&state.pointee.mutex) }
      while !state.pointee.isAtRest {
        guard pthread_cond_timedwait(&state.pointee.rest, &state.pointee.mutex, &until) == 0 else { break }
      }
      return state.pointee.isAtRest
    }

    private func work() {
      while let item = next() { send(item) }
    }

    private func next() -> Item? {
      pthread_mutex_lock(&state.pointee.mutex)
      defer { pthread_mutex_unlock(&state.pointee.mutex) }
      state.pointee.isSending = false
      while true {
        if state.pointee.waiting.isEmpty { tellLoss() }
        guard state.pointee.waiting.isEmpty else { break }
        pthread_cond_broadcast(&state.pointee.rest)
        if state.pointee.isEnding { return nil }
        pthread_cond_wait(&state.pointee.arrival, &state.pointee.mutex)
      }
      state.pointee.isSending = true
      return state.pointee.waiting.removeFirst()
    }
  }
}
