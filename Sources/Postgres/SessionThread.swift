import Concurrency
import Glibc

/// A dedicated thread for one session: the executor of the session's actor.
///
/// The thread that drives libpq blocks in `poll`, so it must not be one of the few threads that all Swift tasks share.
/// The thread ends with the session.
package final class SessionThread: SerialExecutor, @unchecked Sendable {
  private let state: UnsafeMutablePointer<State>

  /// Guarded by the mutex, a pthread mutex so that the thread sanitizer can follow it.
  private struct State {
    var mutex = pthread_mutex_t()
    var condition = pthread_cond_t()
    var jobs: [UnownedJob] = []
    var isEnding = false
  }

  /// Nil if the system has no thread left: a limit that may be met for a moment only.
  package init?(name: String) {
    state = .allocate(capacity: 1)
    state.initialize(to: State())
    pthread_mutex_init(&state.pointee.mutex, nil)
    pthread_cond_init(&state.pointee.condition, nil)
    guard startThread(name, { [self] in work() }) else { return nil }
  }

  deinit {
    pthread_mutex_destroy(&state.pointee.mutex)
    pthread_cond_destroy(&state.pointee.condition)
    state.deinitialize(count: 1)
    state.deallocate()
  }

  package func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    pthread_mutex_lock(&state.pointee.mutex)
    state.pointee.jobs.append(job)
    pthread_cond_signal(&state.pointee.condition)
    pthread_mutex_unlock(&state.pointee.mutex)
  }

  /// Ends the thread once its jobs are done. Nothing may be enqueued afterwards.
  package func end() {
    pthread_mutex_lock(&state.pointee.mutex)
    state.pointee.isEnding = true
    pthread_cond_signal(&state.pointee.condition)
    pthread_mutex_unlock(&state.pointee.mutex)
  }

  private func work() {
    while true {
      pthread_mutex_lock(&state.pointee.mutex)
      while state.pointee.jobs.isEmpty && !state.pointee.isEnding {
        pthread_cond_wait(&state.pointee.condition, &state.pointee.mutex)
      }
      let jobs = state.pointee.jobs
      state.pointee.jobs = []
      pthread_mutex_unlock(&state.pointee.mutex)
      if jobs.isEmpty { return }
      for job in jobs { job.runSynchronously(on: asUnownedSerialExecutor()) }
    }
  }
}
