package import Projection

/// One thing that is wrong with a settings file, with what to do about it.
package struct Problem: Hashable, Sendable, CustomStringConvertible {
  package enum Code: String, Hashable, Sendable, CaseIterable {
    /// A file cannot be read.
    case unreadable = "TM101"
    /// A file is not TOML.
    case syntax = "TM102"
    case unknownKey = "TM103"
    /// A value has the wrong type, or is out of its range.
    case value = "TM104"
    case missingKey = "TM105"
    /// `${NAME}` names a variable that is not set.
    case unsetVariable = "TM106"
    /// Two keys exclude each other, or the same thing is declared twice.
    case conflict = "TM107"
    /// The text of a statement cannot be used.
    case statement = "TM108"
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
