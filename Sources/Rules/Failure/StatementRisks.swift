// What the text of a projection's statements tells: what they may do wrong without any failure to show it, as problems for `check` and
// the log, and whether they add rows.

extension ProjectionDefinition {
  /// Whether it may add rows to its tables. One that only updates and deletes needs rows that it did not make.
  package var addsRows: Bool {
    let statements =
      switch effect {
      case .batch(let statements): statements.map(\.text)
      case .perEvent(let statements): statements.values.map(\.text)
      case .plugin: [String]()
      }
    return statements.isEmpty || !statements.allSatisfy { ["UPDATE", "DELETE"].contains(SQLText.firstKeyword(of: $0)) }
  }

  /// Its statements whose result depends on how many events a page has, with the reason and a remedy.
  package var widthDependences: [Problem] {
    guard case .batch(let statements) = effect else { return [] }
    return statements.compactMap { statement in
      SQLText.widthDependence(of: statement.text).map { found in
        var problem = Problem(found.problem, hint: found.hint, source: statement.source)
        problem.key = settingsKey
        return problem
      }
    }
  }
}
