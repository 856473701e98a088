/// What the operator declared of a projection that is a program of theirs: `exec` or `library`, and how it is run.
package struct PluginDefinition: Hashable, Sendable {
  package enum Program: Hashable, Sendable {
    /// A child process: the program, then its arguments. A program without a slash is looked for in PATH.
    case exec([String])
    /// A shared object with the interface of `tidemark_plugin.h`; `config` is what it is opened with.
    case library(path: String, config: String)
  }

  /// Where what the plugin does takes effect, and so when the position may move.
  package enum Effects: String, CaseIterable, Hashable, Sendable {
    /// Outside: the position moves once the plugin has answered. At least once.
    case external
    /// In this database: the plugin answers with statements, which are applied in the page's transaction. Exactly once.
    case database
  }

  package var program: Program
  package var effects: Effects
  /// Longest the plugin may take for one page, and for its first word.
  package var timeout: Duration
  /// For `exec`: added to the daemon's own environment.
  package var environment: [String: String]
  /// For `exec`; nil is the daemon's own.
  package var workingDirectory: String?
  /// Whether a plugin with effects outside is run while its projection is rebuilt.
  package var rebuildsExternal: Bool

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

  /// The file that runs.
  package var programName: String {
    switch program {
    case .exec(let command): command[0]
    case .library(let path, _): path
    }
  }

  /// Whether a rebuild may hand it events: mails that were sent are not sent again, unless the operator asks for it.
  package var runsInRebuild: Bool { effects == .database || rebuildsExternal }

  /// What it does, as text: equal texts do equal work.
  package var workText: String {
    let words =
      switch program {
      case .exec(let command): ["exec"] + command
      case .library(let path, let config): ["library", path, config]
      }
    return (words + [effects.rawValue]).joined(separator: "\u{0}")
  }
}
