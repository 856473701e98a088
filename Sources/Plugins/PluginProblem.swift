package import Rules

/// A failure of a plugin itself. None of these moves a position. The daemon ends the plugin, and starts it again when the policy retries
/// the page.
extension Problem {
  /// The program could not be run.
  package static func notStarted(program: String, reason: String) -> Problem {
    Problem(
      .plugin(.notStarted), "the plugin \(program) cannot be run: \(reason)",
      hint: "Check exec and working_directory, and which programs the daemon's user may run.")
  }

  /// It exited unexpectedly.
  ///
  /// - Parameter remedy: what may have ended it.
  package static func ended(how: String, lastWords: String?, remedy: String? = nil) -> Problem {
    Problem(
      .plugin(.ended), "the plugin \(how)",
      hint: (remedy.map { "\($0) " } ?? "")
        + (lastWords.map { "Its last words: \($0)" } ?? "It wrote nothing to standard error."))
  }

  /// It closed its standard output, so no answer can come.
  package static let closedOutput = Problem(
    .plugin(.closedOutput), "the plugin closed its standard output",
    hint: "A plugin must keep standard output open for its answers as long as it runs.")

  /// It did not answer in time.
  package static func silent(_ limit: Duration, didNot step: String) -> Problem {
    Problem(
      .plugin(.silent), "the plugin did not \(step) within \(limit)",
      hint: "Raise timeout, or make sure that the plugin writes its answer and flushes it.")
  }

  /// It wrote a line that is not a message of the protocol.
  package static func garbage(_ text: String) -> Problem {
    Problem(
      .plugin(.garbage), "the plugin wrote a line that is not a message of the protocol: \(text)",
      hint:
        "Write only protocol messages to standard output, one JSON object per line; everything else to standard error.")
  }

  /// It wrote a line longer than the protocol allows, or the line of an event would be.
  package static func lineTooLong(bytes: Int) -> Problem {
    Problem(
      .plugin(.lineTooLong),
      "a line from or for the plugin is longer than \(PluginLimits.lineBytes >> 20) MiB (\(bytes) bytes)")
  }

  /// Its answer does not belong to the page it was handed.
  package static func wrongAnswer(_ text: String) -> Problem {
    Problem(
      .plugin(.wrongAnswer), "the plugin \(text)", hint: "See tidemark-plugin(7) for the order of messages.")
  }

  /// It answered before it had read its page. No event makes it do that, and a shorter page would only hide it in the pipe.
  package static func unread(through ceiling: Int64) -> Problem {
    .wrongAnswer("answered before reading the whole page up to \(ceiling)")
  }

  /// It refused to run.
  package static func refused(_ text: String) -> Problem {
    Problem(
      .plugin(.refused), "the plugin refuses to run: \(text)",
      hint: "Provide what the plugin asks for, then run `tidemark start` for the shard.")
  }

  /// It speaks another version of the protocol.
  package static func otherProtocol(_ version: Int) -> Problem {
    Problem(
      .plugin(.refused),
      "the plugin speaks version \(version) of the protocol, but this daemon speaks \(PluginLimits.protocolVersion)",
      hint:
        "Install the plugin for version \(PluginLimits.protocolVersion), then run `tidemark start` for the shard."
    )
  }

  /// The shared object cannot be used.
  package static func badLibrary(_ text: String) -> Problem {
    Problem(.plugin(.badLibrary), text, hint: "Build it against the tidemark_plugin.h of this version.")
  }

  /// A statement of its answer is not allowed in a page.
  package static func badStatement(_ text: String, hint: String) -> Problem {
    Problem(.plugin(.badStatement), "a statement of the plugin's answer: \(text)", hint: hint)
  }
}

extension Problem {
  /// Whether one event may have made the plugin fail: it exited, or said something wrong, while it had a page.
  package var mayBeOfEvent: Bool {
    switch code {
    case .plugin(.ended), .plugin(.closedOutput), .plugin(.garbage), .plugin(.wrongAnswer), .plugin(.lineTooLong): true
    default: false
    }
  }
}

/// The protocol's version and limits.
package enum PluginLimits {
  package static let protocolVersion = 1
  /// The most bytes in one line, in either direction.
  package static let lineBytes = 64 << 20
}
