package import Rules

/// Every problem of the settings, in the order of the files.
package struct SettingsProblems: Error, Sendable, Hashable {
  package var problems: [Problem]

  /// For a person: place, key, what is wrong and what to do, each on a line of its own.
  package var lines: [String] { problems.map { $0.placed + ($0.hint.map { "; \($0)" } ?? "") } }
}
