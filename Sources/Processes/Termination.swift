import CLinux
import Glibc

/// How a child exited.
package enum Termination: Hashable, Sendable, CustomStringConvertible {
  case exited(Int32)
  case signaled(Int32)

  package var isSuccess: Bool { self == .exited(0) }

  /// "exited with status 1", "was killed by signal 9".
  package var description: String {
    switch self {
    case .exited(let code): "exited with status \(code)"
    case .signaled(let signal): "was killed by signal \(signal)"
    }
  }

  /// From the result of waitid(2); nil if it found no exited child.
  init?(_ information: siginfo_t) {
    guard information.si_signo == SIGCHLD else { return nil }
    let status = information._sifields._sigchld.si_status
    self = information.si_code == Int32(CLD_EXITED) ? .exited(status) : .signaled(status)
  }
}
