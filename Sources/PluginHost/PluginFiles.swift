import Glibc
import Plugins
import Processes
package import Rules

extension PluginDefinition {
  /// The problem with the plugin's files on this host; nil if there is none.
  package var problemHere: Problem? {
    reasonHere.map { .notStarted(program: programName, reason: $0) }
  }

  /// The file that runs, found as it will be when it starts; nil if there is none.
  package var programHere: String? {
    switch program {
    case .exec(let command): Launch(command[0], environment: .inherited(environment.mapValues(Optional.some))).path
    case .library(let path, _): path
    }
  }

  /// The same, as the reason alone.
  var reasonHere: String? {
    if let workingDirectory, !ProgramPath.isDirectory(workingDirectory) {
      return "there is no directory \(concealment.concealing(workingDirectory))"
    }
    switch program {
    case .exec(let command):
      guard command[0].contains("/") else {
        // The child's PATH counts, not the daemon's.
        return programHere == nil ? "no directory in PATH has a program of this name" : nil
      }
      if access(command[0], F_OK) != 0 { return "there is no such file" }
      return access(command[0], X_OK) != 0 || ProgramPath.isDirectory(command[0]) ? "it is not executable" : nil
    case .library(let path, _):
      if access(path, F_OK) != 0 { return "there is no such file" }
      return access(path, R_OK) != 0 ? "it cannot be read" : nil
    }
  }
}
