import CLinux
import Glibc

/// How a child ended.
package enum Termination: Hashable, Sendable, CustomStringConvertible {
  case exited(Int32)
  case signaled(Int32)

  package var isSuccess: Bool { self == .exited(0) }

  /// "ended with status 1", "was ended by signal 9".
  package var description: String {
    switch self {
    case .exited(let code): "ended with status \(code)"
    case .signaled(let signal): "was ended by signal \(signal)"
    }
  }

  /// Of what waitid(2) found; nil where it found nothing.
  init?(_ information: siginfo_t) {
    guard information.si_signo == SIGCHLD else { return nil }
    let status = information._sifields._sigchld.si_status
    self = information.si_code == Int32(CLD_EXITED) ? .exited(status) : .signaled(status)
  }
}
