package import Rules

/// What is wrong with a declared projection, found without applying anything: where it stands, and what to do.
package struct DefinitionFinding: Sendable, Hashable, CustomStringConvertible {
  package var projection: String
  package var source: SourceLocation
  package var message: String
  package var hint: String?

  package init(projection: String, source: SourceLocation, message: String, hint: String? = nil) {
    self.projection = projection
    self.source = source
    self.message = message
    self.hint = hint
  }

  package var description: String {
    "\(source): projections.\(projection): \(message)" + (hint.map { "\n    hint: \($0)" } ?? "")
  }
}
