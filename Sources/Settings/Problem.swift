package import Rules

/// One thing that is wrong with a settings file, with what to do about it.
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
      case .unreadable: "A settings file, or one that it names, cannot be read."
      case .syntax: "A settings file is not TOML."
      case .unknownKey: "There is no such key."
      case .value: "A value has the wrong type, or is out of its range."
      case .missingKey: "A key that is needed is missing."
      case .unsetVariable: "${NAME} names an environment variable that is not set."
      case .conflict: "Two keys exclude each other, or the same thing is declared twice."
      case .statement: "The text of a statement cannot be used."
      }
    }
  }

  package var code: Code
  package var location: SourceLocation
  /// The key, with its tables: `database.pool_size`; empty for the file as a whole.
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
