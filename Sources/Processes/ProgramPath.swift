import CLinux
import Glibc

enum OwnEnvironment {
  /// Of this process, as they are now.
  static var variables: [String: String] {
    var variables: [String: String] = [:]
    guard var entry = tidemark_environment() else { return [:] }
    while let text = entry.pointee {
      let parts = String(cString: text).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      // The first of two counts, as with getenv(3).
      if parts.count == 2, variables[String(parts[0])] == nil { variables[String(parts[0])] = String(parts[1]) }
      entry += 1
    }
    return variables
  }
}

/// Looks a program up by its name. It is not left to posix_spawnp(3), which looks in our own PATH, and hands a file that is no program to
/// a shell.
package enum ProgramPath {
  /// The first program of this name in a PATH; nil where there is none.
  ///
  /// Empty and relative entries are left out: what runs must not depend on the directory it runs in.
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
  /// The file that runs; nil where PATH does not have it.
  package var path: String? {
    if program.contains("/") { return program }
    return ProgramPath.find(
      program, in: variables["PATH"] ?? OwnEnvironment.variables["PATH"] ?? "/usr/local/bin:/usr/bin:/bin")
  }
}
