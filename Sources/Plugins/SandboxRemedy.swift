/// Which line of the systemd unit ends a plugin, told by how it ended and what it wrote last: a plugin runs in the sandbox of the daemon, and
/// the system only says that something was not permitted.
package enum SandboxRemedy {
  /// Signals by which runtimes end that may not make memory executable: SIGILL, SIGTRAP, SIGABRT, SIGSEGV.
  private static let compilerSignals: Set<Int32> = [4, 5, 6, 11]
  private static let compilerWords = ["code cache", "codecache", "coreclr", "executable memory", "mprotect", "jit"]

  /// - Parameters:
  ///   - signal: that ended it; nil if it exited.
  ///   - lastWords: the last line of its standard error.
  /// - Returns: nil if nothing points to the unit.
  package static func of(signal: Int32?, lastWords: String?) -> String? {
    let words = lastWords?.lowercased() ?? ""
    func says(_ texts: [String]) -> Bool { texts.contains { words.contains($0) } }
    let line: String
    switch signal {
    case 31?:
      line =
        "a system call that SystemCallFilter= of the unit denies ended it; allow the call with SystemCallFilter=NAME"
    case 9? where lastWords == nil:
      line = "the kernel may have ended it for lack of memory; MemoryMax= of the unit, if set, is one bound"
    case _ where signal.map(compilerSignals.contains) ?? false || says(compilerWords):
      line = "a runtime that compiles as it runs needs MemoryDenyWriteExecute=no in the unit"
    case _ where says(["read-only file system", "erofs"]):
      line =
        "ProtectSystem=strict of the unit keeps it from writing there; name a directory with StateDirectory= or ReadWritePaths="
    case _ where says(["network is unreachable", "enetunreach"]):
      line =
        "RestrictAddressFamilies= or IPAddressDeny= of the unit keeps it from that host; allow it with IPAddressAllow="
    case _ where says(["operation not permitted", "eperm"]):
      line =
        "IPAddressDeny= of the unit denies other hosts, and SystemCallFilter= some system calls; allow a host with IPAddressAllow="
    default: return nil
    }
    return "Perhaps \(line) (`systemctl edit tidemark`; see \"Under systemd\" in tidemark-plugin(7))."
  }
}
