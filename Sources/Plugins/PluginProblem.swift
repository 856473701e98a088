package import Rules

/// Why a plugin did not do its part: what is told to the operator, and how the failure policy looks at it.
///
/// None of these moves a position. The plugin is ended, and started again when the policy has the page tried again.
package enum PluginProblem: Error, Hashable, Sendable {
  /// The program could not be run.
  case notStarted(program: String, reason: String)
  /// It is gone, though nobody asked it to go.
  case ended(how: String, lastWords: String?)
  /// It closed its standard output, so no answer can come.
  case closedOutput
  /// It did not answer in time.
  case silent(Duration, waitingFor: String)
  /// What it wrote is no message of the protocol.
  case garbage(String)
  /// It wrote a line, or an event is a line, longer than the protocol allows.
  case lineTooLong(bytes: Int)
  /// It answered, but not what it was asked.
  case wrongAnswer(String)
  /// It said that it will not run here.
  case refused(String)
  /// It speaks another version of the protocol.
  case otherProtocol(Int)
  /// The shared object cannot be used as it is.
  case badLibrary(String)
  /// A statement it answered with may not be part of a page.
  case badStatement(String, hint: String)

  /// For rules, for the log and for the manual.
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
      case .ended: "A plugin ended though nobody asked it to. Its last words, from standard error, stand beside."
      case .closedOutput: "A plugin closed its standard output, so no answer can come."
      case .silent: "A plugin did not answer in time."
      case .garbage: "A plugin wrote a line that is no message of the protocol."
      case .lineTooLong: "A line of a plugin, or an event for one, is longer than the protocol allows."
      case .wrongAnswer:
        "A plugin answered for another page, or before it was handed one, or a library returned what means nothing."
      case .refused: "A plugin refuses to run."
      case .badLibrary: "A library cannot be loaded, or was built for another version of the interface."
      case .badStatement: "A statement of a plugin's answer may not be part of a page."
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

  /// A program that is missing may be installed a moment later, so only what the plugin itself is wrong about stops its shard.
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
    case .garbage(let text): "the plugin wrote a line that is no message of the protocol: \(text)"
    case .lineTooLong(let bytes):
      "a line of the plugin is longer than \(PluginLimits.lineBytes >> 20) MiB (\(bytes) bytes)"
    case .wrongAnswer(let text): "the plugin \(text)"
    case .refused(let text): "the plugin refuses to run: \(text)"
    case .otherProtocol(let version):
      "the plugin speaks version \(version) of the protocol, and this daemon \(PluginLimits.protocolVersion)"
    case .badLibrary(let text): text
    case .badStatement(let text, _): "a statement of the plugin's answer: \(text)"
    }
  }

  package var hint: String? {
    switch self {
    case .notStarted: "Look at exec and working_directory, and at what the daemon's user may run."
    case .ended(_, let words): words.map { "Its last words: \($0)" } ?? "It wrote nothing to standard error."
    case .closedOutput: "Answers go to standard output, for as long as the plugin runs."
    case .silent: "Raise timeout, or have the plugin write its answer and flush it."
    case .garbage: "Only answers belong on standard output, a JSON object a line; whatever else goes to standard error."
    case .lineTooLong: nil
    case .wrongAnswer: "See tidemark-plugin(7) for what is answered when."
    case .refused: "When what it asks for is there, let the shard go on with `tidemark start`."
    case .otherProtocol:
      "Install the plugin for version \(PluginLimits.protocolVersion), then let the shard go on with `tidemark start`."
    case .badLibrary: "Build it against the tidemark_plugin.h of this version."
    case .badStatement(_, let hint): hint
    }
  }
}

/// The protocol's version and its bounds.
package enum PluginLimits {
  package static let protocolVersion = 1
  /// Of one line, either way.
  package static let lineBytes = 64 << 20
}
