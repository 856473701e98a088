package import Projection

/// What is wrong with a declared projection, found without applying anything: where it stands, and what to do.
package struct DefinitionFinding: Sendable, Hashable, CustomStringConvertible {
  package var projection: String
  package var source: SourceLocation
  package var message: String
  package var hint: String?

  package var description: String {
    "\(source): projections.\(projection): \(message)" + (hint.map { "\n    hint: \($0)" } ?? "")
  }
}
