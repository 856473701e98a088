/// A projection that the operator declared as a program: `exec` or `library`, and how to run it.
package struct PluginDefinition: Hashable, Sendable {
  package enum Program: Hashable, Sendable {
    /// A child process: the program, then its arguments. A program without a slash is searched for in PATH.
    case exec([String])
    /// A shared object with the interface of `tidemark_plugin.h`; it is opened with `config`.
    case library(path: String, config: String)
  }

  /// Where the plugin's work takes effect, and so when the position may move.
  package enum Effects: String, CaseIterable, Hashable, Sendable {
    /// Outside: the position moves once the plugin has answered. At least once.
    case external
    /// In this database: the plugin answers with statements, which run in the page's transaction. Exactly once.
    case database
  }

  package var program: Program
  package var effects: Effects
  /// Longest the plugin may take for one page, and to report ready.
  package var timeout: Duration
  /// For `exec`: added to the daemon's own environment.
  package var environment: [String: String]
  /// For `exec`; nil for the daemon's own.
  package var workingDirectory: String?
  /// Whether a rebuild of its projection runs a plugin with effects outside.
  package var rebuildsExternal: Bool
  /// What variables in its keys stand for.
  package var concealment = Concealment()

  package init(
    program: Program, effects: Effects = .external, timeout: Duration = .seconds(30),
    environment: [String: String] = [:], workingDirectory: String? = nil, rebuildsExternal: Bool = false
  ) {
    self.program = program
    self.effects = effects
    self.timeout = timeout
    self.environment = environment
    self.workingDirectory = workingDirectory
    self.rebuildsExternal = rebuildsExternal
  }

  /// The key that declares it.
  package var form: String {
    switch program {
    case .exec: "exec"
    case .library: "library"
    }
  }

  /// The file that runs, as an operator may see it.
  package var programName: String {
    switch program {
    case .exec(let command): concealment.concealing(command[0])
    case .library(let path, _): concealment.concealing(path)
    }
  }

  /// Whether a rebuild may hand it events: it does not send mails a second time, unless the operator allows it.
  package var runsInRebuild: Bool { effects == .database || rebuildsExternal }

  /// A text of its work: plugins with equal texts do equal work.
  package var workText: String {
    let words =
      switch program {
      case .exec(let command): ["exec"] + command
      case .library(let path, let config): ["library", path, config]
      }
    return (words + [effects.rawValue]).joined(separator: "\u{0}")
  }
}
