import CLinux
import Glibc

/// Starts a detached thread with a name for `ps -L`, of which Linux keeps the first 15 bytes. It takes no signals but those of its own
/// crash.
///
/// - Returns: false if the system has no thread left. Limits (`TasksMax=`, `ulimit -u`) may be met for a moment only, so that is an error
///   to be told or tried again, never the end of the process.
package func startThread(_ name: String, _ body: @escaping @Sendable () -> Void) -> Bool {
  var (attributes, thread, others, before) = (pthread_attr_t(), pthread_t(), sigset_t(), sigset_t())
  pthread_attr_init(&attributes)
  pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
  sigfillset(&others)
  for signal in [SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV] { sigdelset(&others, signal) }
  // The thread inherits the mask.
  pthread_sigmask(SIG_BLOCK, &others, &before)
  let work = Unmanaged.passRetained(ThreadWork(name: name, body: body))
  let status = pthread_create(
    &thread, &attributes,
    { argument in
      let work = Unmanaged<ThreadWork>.fromOpaque(argument!).takeRetainedValue()
      tidemark_name_thread(work.name)
      work.body()
      return nil
    }, work.toOpaque())
  pthread_sigmask(SIG_SETMASK, &before, nil)
  pthread_attr_destroy(&attributes)
  if status != 0 { work.release() }
  return status == 0
}

private final class ThreadWork: Sendable {
  let name: String
  let body: @Sendable () -> Void

  init(name: String, body: @escaping @Sendable () -> Void) {
    self.name = name
    self.body = body
  }
}
