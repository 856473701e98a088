import CLinux
import Glibc

package enum OwnEnvironment {
  /// The current environment of this process.
  package static var variables: [String: String] {
    var variables: [String: String] = [:]
    guard var entry = tidemark_environment() else { return [:] }
    while let text = entry.pointee {
      let parts = String(cString: text).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      // The first of two equal names counts, as in getenv(3).
      if parts.count == 2, variables[String(parts[0])] == nil { variables[String(parts[0])] = String(parts[1]) }
      entry += 1
    }
    return variables
  }
}

/// Looks up a program by name. posix_spawnp(3) would search our own PATH, and pass a file that is not a program to a
/// shell.
package enum ProgramPath {
  /// The first program of this name in a PATH; nil if there is none.
  ///
  /// Empty and relative entries are skipped: the choice of program must not depend on the working directory.
  static func find(_ name: String, in path: String) -> String? {
    for directory in path.split(separator: ":") where directory.hasPrefix("/") {
      let candidate = "\(directory)/\(name)"
      if access(candidate, X_OK) == 0, !isDirectory(candidate) { return candidate }
    }
    return nil
  }

  package static func isDirectory(_ path: String) -> Bool { kind(of: path) == S_IFDIR }

  static func isRegular(_ path: String) -> Bool { kind(of: path) == S_IFREG }

  private static func kind(of path: String) -> mode_t? {
    var information = stat()
    return stat(path, &information) == 0 ? information.st_mode & S_IFMT : nil
  }
}

extension Launch {
  /// The file to execute; nil if PATH does not contain it.
  package var path: String? {
    if program.contains("/") { return program }
    return ProgramPath.find(
      program, in: variables["PATH"] ?? OwnEnvironment.variables["PATH"] ?? "/usr/local/bin:/usr/bin:/bin")
  }
}
