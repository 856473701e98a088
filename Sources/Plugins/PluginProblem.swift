package import Rules

/// A failure of a plugin itself: its message for the operator, and its class for the failure policy.
///
/// None of these moves a position. The daemon ends the plugin, and starts it again when the policy retries the page.
package enum PluginProblem: Error, Hashable, Sendable {
  /// The program could not be run.
  case notStarted(program: String, reason: String)
  /// It exited unexpectedly.
  case ended(how: String, lastWords: String?)
  /// It closed its standard output, so no answer can come.
  case closedOutput
  /// It did not answer in time.
  case silent(Duration, waitingFor: String)
  /// It wrote a line that is not a message of the protocol.
  case garbage(String)
  /// It wrote a line longer than the protocol allows, or the line of an event would be.
  case lineTooLong(bytes: Int)
  /// Its answer does not belong to the page it was handed.
  case wrongAnswer(String)
  /// It refused to run.
  case refused(String)
  /// It speaks another version of the protocol.
  case otherProtocol(Int)
  /// The shared object cannot be used.
  case badLibrary(String)
  /// A statement of its answer is not allowed in a page.
  case badStatement(String, hint: String)

  /// Codes for `[[on_error]]` rules, the log and the manual.
  package enum Code: String, ProblemCode {
    case notStarted = "TM501"
    case ended = "TM502"
    case closedOutput = "TM503"
    case silent = "TM504"
    case garbage = "TM505"
    case lineTooLong = "TM506"
    case wrongAnswer = "TM507"
    case refused = "TM508"
    case badLibrary = "TM509"
    case badStatement = "TM510"

    package var meaning: String {
      switch self {
      case .notStarted: "A plugin cannot be run: it is missing, not executable, or its directory is missing."
      case .ended: "A plugin exited unexpectedly. The hint shows its last lines on standard error."
      case .closedOutput: "A plugin closed its standard output, so no answer can come."
      case .silent: "A plugin did not answer in time."
      case .garbage: "A plugin wrote a line that is not a message of the protocol."
      case .lineTooLong: "A line of a plugin, or an event for one, is longer than the protocol allows."
      case .wrongAnswer:
        "A plugin answered for another page, or before it was handed one, or a library returned an unknown value."
      case .refused: "A plugin refuses to run, or speaks another version of the protocol."
      case .badLibrary: "A library cannot be loaded, or was built for another version of the interface."
      case .badStatement: "A statement of a plugin's answer is not allowed in a page."
      }
    }
  }

  package var code: Code {
    switch self {
    case .notStarted: .notStarted
    case .ended: .ended
    case .closedOutput: .closedOutput
    case .silent: .silent
    case .garbage: .garbage
    case .lineTooLong: .lineTooLong
    case .wrongAnswer: .wrongAnswer
    case .refused, .otherProtocol: .refused
    case .badLibrary: .badLibrary
    case .badStatement: .badStatement
    }
  }

  /// A missing program may be installed a moment later, so only problems of the plugin itself stop its shard.
  package var failureClass: FailureClass {
    switch self {
    case .notStarted, .ended, .closedOutput, .silent, .garbage, .lineTooLong, .wrongAnswer: .transient
    case .refused, .otherProtocol, .badLibrary, .badStatement: .definition
    }
  }

  package var message: String {
    switch self {
    case .notStarted(let program, let reason): "the plugin \(program) cannot be run: \(reason)"
    case .ended(let how, _): "the plugin \(how)"
    case .closedOutput: "the plugin closed its standard output"
    case .silent(let limit, let what): "the plugin did not answer within \(limit), waiting for \(what)"
    case .garbage(let text): "the plugin wrote a line that is not a message of the protocol: \(text)"
    case .lineTooLong(let bytes):
      "a line from or for the plugin is longer than \(PluginLimits.lineBytes >> 20) MiB (\(bytes) bytes)"
    case .wrongAnswer(let text): "the plugin \(text)"
    case .refused(let text): "the plugin refuses to run: \(text)"
    case .otherProtocol(let version):
      "the plugin speaks version \(version) of the protocol, but this daemon speaks \(PluginLimits.protocolVersion)"
    case .badLibrary(let text): text
    case .badStatement(let text, _): "a statement of the plugin's answer: \(text)"
    }
  }

  package var hint: String? {
    switch self {
    case .notStarted: "Check exec and working_directory, and which programs the daemon's user may run."
    case .ended(_, let words): words.map { "Its last words: \($0)" } ?? "It wrote nothing to standard error."
    case .closedOutput: "A plugin must keep standard output open for its answers as long as it runs."
    case .silent: "Raise timeout, or make sure that the plugin writes its answer and flushes it."
    case .garbage:
      "Write only protocol messages to standard output, one JSON object per line; everything else to standard error."
    case .lineTooLong: nil
    case .wrongAnswer: "See tidemark-plugin(7) for the order of messages."
    case .refused: "Provide what the plugin asks for, then run `tidemark start` for the shard."
    case .otherProtocol:
      "Install the plugin for version \(PluginLimits.protocolVersion), then run `tidemark start` for the shard."
    case .badLibrary: "Build it against the tidemark_plugin.h of this version."
    case .badStatement(_, let hint): hint
    }
  }
}

/// The protocol's version and limits.
package enum PluginLimits {
  package static let protocolVersion = 1
  /// The most bytes in one line, in either direction.
  package static let lineBytes = 64 << 20
}
