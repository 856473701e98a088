package import Rules

/// One problem with a settings file, with a hint how to fix it.
package struct Problem: Hashable, Sendable, CustomStringConvertible {
  package enum Code: String, ProblemCode {
    case unreadable = "TM101"
    case syntax = "TM102"
    case unknownKey = "TM103"
    case value = "TM104"
    case missingKey = "TM105"
    case unsetVariable = "TM106"
    case conflict = "TM107"
    case statement = "TM108"

    package var meaning: String {
      switch self {
      case .unreadable: "A settings file, or a file that it names, cannot be read."
      case .syntax: "A settings file is not valid TOML."
      case .unknownKey: "There is no such key."
      case .value: "A value has the wrong type, or is out of range."
      case .missingKey: "A required key is missing."
      case .unsetVariable: "${NAME} names an environment variable that is not set."
      case .conflict: "Two keys exclude each other, or the same thing is declared twice."
      case .statement: "The text of a statement cannot be used."
      }
    }
  }

  package var code: Code
  package var location: SourceLocation
  /// The key with its tables: `database.pool_size`; empty for the file as a whole.
  package var path: String
  package var message: String
  package var hint: String?

  package var description: String {
    "\(location): \(path.isEmpty ? "" : path + ": ")\(message) (\(code.rawValue))" + (hint.map { "; \($0)" } ?? "")
  }
}

/// Every problem of the settings, in the order of the files.
package struct SettingsProblems: Error, Sendable, Hashable {
  package var problems: [Problem]
}
