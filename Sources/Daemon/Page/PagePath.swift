package import Books
package import Postgres
import Rules

/// The search path of the operator's statements in one page, and the statements that set it and ours.
///
/// It holds from the first of the operator's statements to the end of the transaction, but not for statements of ours in between. Setting it
/// takes no round trip. ``SearchPath`` says why.
package struct PagePath: Sendable {
  package let text: String

  /// - Parameter target: the tables of a rebuild come before those that they are to replace, and before all, where what a statement makes
  ///   is noticed.
  package init(_ path: SearchPath, _ target: PageTarget) {
    var schemas = [SearchPath.page]
    if case .rebuild(_, _, _, let schema, _) = target { schemas.insert(schema, at: 0) }
    text = SearchPath.text(schemas + path.schemas)
  }

  package var enter: SQL { SearchPath.set(text) }

  static let leave = SearchPath.set(SearchPath.ours)

  /// Statements of ours between those of the operator and COMMIT, at which deferred triggers run.
  func outside(_ ours: [SQL]) -> [SQL] { ours.isEmpty ? [] : [Self.leave] + ours + [enter] }

  /// Whether the page has events; if it has, enters the path, and proves that `batch` is ours.
  var look: SQL {
    """
    SELECT page.any, CASE WHEN page.any THEN set_config('search_path', \(text), true) END AS path,
           CASE WHEN page.any THEN coalesce(to_regclass('batch') = to_regclass('tidemark_page.batch'), false) END AS is_ours
      FROM (SELECT EXISTS (SELECT FROM tidemark.batch) AS any OFFSET 0) AS page
    """
  }

  /// Whether the page has events.
  ///
  /// - Parameter found: by ``look``.
  /// - Throws: ``PageFailure`` if `batch` is not ours.
  static func hasEvents(_ found: Row) throws -> Bool {
    guard try found.get("any", as: Bool.self) else { return false }
    guard try found.get("is_ours", as: Bool.self) else {
      throw PageFailure(
        Problem(
          .raised(.viewElsewhere),
          "the name batch does not mean the view tidemark_page.batch, which is missing or hidden",
          hint: "The daemon makes it again. If it lacks the privilege, run `tidemark init`."))
    }
    return true
  }
}
