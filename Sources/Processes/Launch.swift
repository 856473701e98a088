/// What is to be started as a child of this process.
///
/// The child leads a process group of its own, so that a Ctrl-C at our terminal does not reach it and a signal to the group reaches its
/// children. It inherits its three streams and nothing else that is open here, no blocked signal and no ignored one.
package struct Launch: Sendable {
  /// One of the child's three streams.
  package enum Stream: Hashable, Sendable {
    /// To or from us, as ``Child/input``, ``Child/output`` and ``Child/error``.
    case pipe
    /// /dev/null.
    case nothing
    /// An open file of ours, which stays open here.
    case descriptor(Int32)
  }

  package enum Environment: Hashable, Sendable {
    /// Our own with these changes; nil takes a variable away.
    case inherited([String: String?] = [:])
    /// Nothing but these.
    case only([String: String])
  }

  /// A path where it has a slash. Otherwise a name that is looked for in the PATH of the child's environment, and in ours where that has
  /// none. A relative path counts from the child's directory.
  package var program: String
  package var arguments: [String]
  package var environment: Environment
  /// Nil is our own.
  package var directory: String?
  package var input: Stream
  package var output: Stream
  package var error: Stream
  /// It is meant to go on, or to end by itself, when this process is ended by a signal.
  package var outlivesUs = false
  /// The path of a terminal on which the child is to lead a session of its own. Its streams are this terminal then.
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

  /// The variables that the child gets.
  package var variables: [String: String] {
    switch environment {
    case .only(let variables): variables
    case .inherited(let changes):
      changes.reduce(into: OwnEnvironment.variables) { variables, change in variables[change.key] = change.value }
    }
  }
}
