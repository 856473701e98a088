import Books
import EventStore
import Postgres
import Rules
import Telemetry

/// Applies a page in which some events fail: finds them, passes them over as the policy says, and applies all others.
///
/// Everything happens in the page's own transaction, the dead letters too: where one cannot be kept, nothing was applied.
struct PoisonSearch: Sendable {
  let definition: ProjectionDefinition
  let shape: StoreShape
  let policy: FailurePolicy
  let node: String
  /// The chains that have come to the step of passing events over; another failure with steps before that is not passed over yet.
  let chains: Set<[FailureAction]>
  /// Under which name letters are kept.
  let shard: String

  init(_ context: ShardContext, policy: FailurePolicy, chains: Set<[FailureAction]>, shard: String) {
    definition = context.definition
    shape = context.shape
    node = context.node
    self.policy = policy
    self.chains = chains
    self.shard = shard
  }

  private var parks: Bool { definition.onPoison == .parkStream }

  /// An event that fails, and why.
  struct Finding: Sendable {
    var sequence: Int64
    var failure: PageFailure
  }

  /// The batch form: the server looks for them.
  ///
  /// - Parameters:
  ///   - statements: with their names, as the session has prepared them.
  ///   - chunk: events that are tried together at first; 0 for all.
  ///   - begin: what begins the page; it goes to the server together with the search.
  /// - Returns: the events that fail, and how many events are in the page.
  func find(
    _ statements: [(name: String, source: SourceLocation)], chunk: Int, after begin: [SQL], on session: Session
  ) async throws -> (findings: [Finding], events: Int) {
    let runs = statements.map { "EXECUTE " + SQL.quoted($0.name) }
    let results = try await session.pipeline(
      begin + [
        // The search is one statement on the server, however many it runs in it: all events once for each halving, and each that fails.
        """
        SELECT set_config('statement_timeout',
            least(100000 * extract(epoch FROM current_setting('statement_timeout')::interval), 2147483647)::integer::text, true)
        """,
        """
        SELECT seq_id, statement, code, message, detail, hint
          FROM tidemark_internal.isolate(\(runs), \(chunk)::integer, \(policy.isolable), \(parks))
        """,
        "SELECT current_setting('tidemark.events')::integer AS events",
      ])
    let findings = try results[results.count - 2].rows.map { row in
      let code = try row.get("code", as: String.self)
      let sequence = try row.get("seq_id", as: Int64.self)
      let failure = Problem(
        serverMessage: try row.get("message", as: String.self), detail: try row.get("detail", as: String?.self),
        hint: try row.get("hint", as: String?.self), sqlState: code,
        source: statements[try row.get("statement", as: Int.self) - 1].source, sequence: sequence)
      var found = PageFailure(FailureClass.classify(sqlState: code), failure)
      found.detail = try row.get("detail", as: String?.self)
      return Finding(sequence: sequence, failure: found)
    }
    return (findings, try results.last!.rows[0].get("events", as: Int.self))
  }

  /// Whether one event may be at fault, so that it is worth looking for it.
  func mayPass(_ failure: PageFailure) -> Bool {
    failure.failureClass == .event
      || policy.actions(for: failure.facts(projection: definition.name)).contains(where: \.passesEventOver)
  }

  /// Passes over what the policy passes over; any other failure is thrown, and the page with it.
  func decide(_ findings: [Finding]) throws -> (letters: [DeadLetters.Letter], ignored: [Int64]) {
    var letters: [DeadLetters.Letter] = []
    var ignored: [Int64] = []
    // A page may hold many events that fail alike, and rules may have patterns.
    var known: [FailureFacts: [FailureAction]] = [:]
    for finding in findings {
      let facts = finding.failure.facts(projection: definition.name)
      let actions = known[facts] ?? policy.actions(for: facts)
      known[facts] = actions
      guard actions.first?.passesEventOver == true || chains.contains(actions) else { throw finding.failure }
      switch actions.first(where: \.passesEventOver) {
      // A stream is parked by its letters, so with parking there is no ignoring.
      case .ignore? where parks && finding.failure.failureClass != .unknownEvent: fallthrough
      case .skip?:
        letters.append(
          DeadLetters.Letter(
            sequence: finding.sequence, failureClass: finding.failure.failureClass.rawValue,
            sqlState: finding.failure.failure.code?.text, message: finding.failure.failure.message,
            detail: finding.failure.detail))
      case .ignore?: ignored.append(finding.sequence)
      default: throw finding.failure
      }
    }
    return (letters, ignored)
  }

  /// What goes into the transaction before COMMIT.
  func keep(_ letters: [DeadLetters.Letter]) -> [SQL] {
    var statements = DeadLetters(shape).keep(letters, shard: shard, projection: definition.name, node: node)
    // The streams of these letters are parked now: later events of theirs in this page were left out.
    if parks, !letters.isEmpty { statements.append(park) }
    return statements
  }

  var park: SQL { "SELECT tidemark_internal.park(\(shard), \(node))" }
}
