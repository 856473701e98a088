/// Describes a child to start.
///
/// The child leads its own process group, so that a Ctrl-C at our terminal does not reach it and a signal to the group
/// reaches its descendants. It inherits its three streams but no other open descriptor, and no blocked or ignored
/// signal.
package struct Launch: Sendable {
  /// One of the child's three streams.
  package enum Stream: Hashable, Sendable {
    /// A pipe to or from this process, as ``Child/input``, ``Child/output`` and ``Child/error``.
    case pipe
    /// /dev/null.
    case nothing
    /// An open file of this process, which stays open here.
    case descriptor(Int32)
  }

  package enum Environment: Hashable, Sendable {
    /// Our own environment with these changes; nil removes a variable.
    case inherited([String: String?] = [:])
    /// These variables only.
    case only([String: String])
  }

  /// A path if it contains a slash; a relative one starts from the child's directory. Otherwise a name that is looked
  /// up in the PATH of the child's environment, or in ours if the child has none.
  package var program: String
  package var arguments: [String]
  package var environment: Environment
  /// The child's working directory; nil for ours.
  package var directory: String?
  package var input: Stream
  package var output: Stream
  package var error: Stream
  /// The child keeps running, or exits on its own, when a signal ends this process.
  package var outlivesUs = false
  /// The path of a terminal on which the child leads a session of its own. This terminal is then all three of its
  /// streams.
  package var terminal: String?

  package init(
    _ program: String, _ arguments: [String] = [], environment: Environment = .inherited(), directory: String? = nil,
    input: Stream = .nothing, output: Stream = .pipe, error: Stream = .pipe
  ) {
    self.program = program
    self.arguments = arguments
    self.environment = environment
    self.directory = directory
    self.input = input
    self.output = output
    self.error = error
  }

  /// The child's environment variables.
  package var variables: [String: String] {
    switch environment {
    case .only(let variables): variables
    case .inherited(let changes):
      changes.reduce(into: OwnEnvironment.variables) { variables, change in variables[change.key] = change.value }
    }
  }
}
