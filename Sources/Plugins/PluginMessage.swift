import FoundationEssentials
package import Rules

/// One line of a plugin's standard output.
package enum PluginMessage: Hashable, Sendable {
  case ready(protocolVersion: Int)
  case refused(message: String)
  case answer(PluginAnswer)
  case log(level: PluginLogLevel, message: String)
}

/// The outcome of a page.
package enum PluginAnswer: Hashable, Sendable {
  /// The whole page is applied; with effects in the database, the daemon has to run the statements.
  case applied(ceiling: Int64, statements: [PluginStatement]?)
  /// One event failed; all events before it are applied.
  case failed(PluginFailure)
}

/// A statement of an answer. Values are bound as text, and PostgreSQL infers their types.
package struct PluginStatement: Hashable, Sendable {
  package var text: String
  package var values: [String?]

  package init(text: String, values: [String?] = []) {
    self.text = text
    self.values = values
  }
}

/// The event that failed, and why.
package struct PluginFailure: Hashable, Sendable {
  package enum Kind: String, Hashable, Sendable, CaseIterable {
    case event, serialization, unknown, transient, definition

    package var failureClass: FailureClass {
      switch self {
      case .event, .serialization: .event
      case .unknown: .unknownEvent
      case .transient: .transient
      case .definition: .definition
      }
    }

    /// `skip_serialization_errors` looks at class 22, "data exception".
    package var sqlState: String? { self == .serialization ? "22000" : nil }
  }

  package var sequence: Int64
  package var kind: Kind
  package var message: String
  /// With effects in the database: the statements for the events before the failed one; nil if those events must be
  /// handed over again, as a page of their own.
  package var statements: [PluginStatement]?

  package init(sequence: Int64, kind: Kind, message: String, statements: [PluginStatement]? = nil) {
    self.sequence = sequence
    self.kind = kind
    self.message = message.storable
    self.statements = statements
  }
}

package enum PluginLogLevel: String, Hashable, Sendable, CaseIterable {
  case debug, info, notice, warning, error
}

extension PluginMessage {
  /// Parses one line.
  ///
  /// - Throws: ``Problem/garbage(_:)``, with the beginning of the line and what is wrong with it; `TM506` for more values than a page needs.
  package static func parse(_ line: some Collection<UInt8>) throws(Problem) -> PluginMessage {
    try AnswerBound.check(line)
    let wire: Wire
    do {
      wire = try JSONDecoder().decode(Wire.self, from: Data(line))
    } catch {
      throw .garbage("\(beginning(of: line)) (\(explanation(error)))")
    }
    let messages: [PluginMessage?] = [
      wire.ready.map { .ready(protocolVersion: $0.protocol) },
      wire.refused.map { .refused(message: $0.message.storable) },
      wire.applied.map { .answer(.applied(ceiling: $0.ceiling, statements: $0.sql?.map(\.statement))) },
      wire.failed.map {
        .answer(
          .failed(
            PluginFailure(
              sequence: $0.seq_id, kind: $0.class ?? .event, message: $0.message ?? "the plugin gave no reason",
              statements: $0.sql?.map(\.statement))))
      },
      wire.log.map { .log(level: $0.level ?? .info, message: $0.message.storable) },
    ]
    let found = messages.compactMap { $0 }
    guard found.count == 1 else {
      throw .garbage("\(beginning(of: line)) (expected one of ready, refused, applied, failed, log)")
    }
    return found[0]
  }

  /// Enough of a line to recognize it by; the plugin chose its text, which may have any length.
  static func beginning(of line: some Collection<UInt8>) -> String {
    let text = String(decoding: line.prefix(80), as: UTF8.self).unicodeScalars
      .reduce(into: "") { $0 += $1.value < 0x20 || $1.value == 0x7F ? "." : String($1) }
    return line.count > 80 ? text + "..." : text
  }

  private static func explanation(_ error: any Error) -> String {
    func path(_ context: DecodingError.Context) -> String {
      context.codingPath.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }.joined(separator: ".")
    }
    return switch error {
    case DecodingError.keyNotFound(let key, let context):
      "expected \((context.codingPath + [key]).map(\.stringValue).joined(separator: "."))"
    case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
      "another type is expected at \(path(context))"
    case DecodingError.dataCorrupted(let context) where !context.codingPath.isEmpty:
      "\(path(context)): \(context.debugDescription)"
    default: "it is not JSON"
    }
  }

  /// The form on the wire.
  private struct Wire: Decodable {
    var ready: Ready?
    var refused: Refused?
    var applied: Applied?
    var failed: Failed?
    var log: Log?

    struct Ready: Decodable { var `protocol`: Int }
    struct Refused: Decodable { var message: String }
    struct Applied: Decodable {
      var ceiling: Int64
      var sql: [Statement]?
    }
    struct Failed: Decodable {
      var seq_id: Int64
      var `class`: Kind?
      var message: String?
      var sql: [Statement]?

      typealias Kind = PluginFailure.Kind
    }
    struct Log: Decodable {
      var level: PluginLogLevel?
      var message: String
    }
    struct Statement: Decodable {
      var text: String
      var values: [Value]?

      var statement: PluginStatement { PluginStatement(text: text, values: (values ?? []).map(\.text)) }
    }
    /// A value that PostgreSQL can read as text; the plugin has to write any other value as a string.
    struct Value: Decodable {
      var text: String?

      init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
          text = nil
        } else if let string = try? container.decode(String.self) {
          text = string
        } else if let flag = try? container.decode(Bool.self) {
          text = flag ? "true" : "false"
        } else if let number = try? container.decode(Int64.self) {
          text = "\(number)"
        } else if let number = try? container.decode(Decimal.self) {
          text = "\(number)"
        } else {
          throw DecodingError.dataCorruptedError(
            in: container, debugDescription: "expected a string, a number, true, false or null")
        }
      }
    }
  }
}

extension PluginFailure.Kind: Decodable {}
extension PluginLogLevel: Decodable {}

extension String {
  /// The text with a visible symbol for NUL, which PostgreSQL cannot store.
  fileprivate var storable: String { utf8.contains(0) ? replacing("\0", with: "\u{2400}") : self }
}
