// What a projection's statements may do wrong without any failure to show it, as problems for `check` and the log.

extension ProjectionDefinition {
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
