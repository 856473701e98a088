import Books
import EventStore
import Postgres
import Rules
import Telemetry

/// Applies a page in which some events fail: finds them, skips them as the failure policy says, and applies all others.
///
/// All of it, the dead letters too, is in the page's transaction: if a letter cannot be kept, nothing is applied.
struct PoisonSearch: Sendable {
  let definition: ProjectionDefinition
  let shape: StoreShape
  let policy: FailurePolicy
  let node: String
  /// The action chains that have reached their step of skipping events; a failure with another chain that begins with other steps is not
  /// skipped yet.
  let chains: Set<[FailureAction]>
  /// The name under which letters are kept.
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

  /// Has the server find the failing events, for the batch form.
  ///
  /// - Parameters:
  ///   - statements: the names under which the session has prepared them.
  ///   - path: in effect at the call, and not afterwards.
  ///   - chunk: the number of events to try together at first; 0 for all.
  ///   - isAlone: whether the page can have only one event, whose statement then gets no more time than it would without a search.
  /// - Returns: the events that fail, and the number of events in the page.
  func find(
    _ statements: [(name: String, source: SourceLocation)], _ path: PagePath, chunk: Int, isAlone: Bool = false,
    on session: Session
  ) async throws -> (findings: [Finding], events: Int) {
    let runs = statements.map { "EXECUTE " + SQL.quoted($0.name) }
    let results = try await session.pipeline(
      [
        PagePath.leave,
        // For the server the search is one statement, although it runs many: all events once for each halving, and each failing event.
        """
        SELECT set_config('statement_timeout',
            least(\(isAlone ? 1_000 : 100_000) * extract(epoch FROM current_setting('statement_timeout')::interval), 2147483647)::integer::text, true)
        """,
        """
        SELECT seq_id, statement, code, message, detail, hint
          FROM tidemark_internal.isolate(\(runs), \(chunk)::integer, \(policy.isolable), \(parks), \(path.text))
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

  /// Whether one event may cause the failure, so that a search is worthwhile.
  func mayPass(_ failure: PageFailure) -> Bool {
    failure.failureClass == .event
      || policy.actions(for: failure.facts(projection: definition.name)).contains(where: \.passesEventOver)
  }

  /// Decides for each finding whether the policy skips the event; throws any other failure, which ends the page.
  func decide(_ findings: [Finding]) throws -> (letters: [DeadLetters.Letter], ignored: [Int64]) {
    var letters: [DeadLetters.Letter] = []
    var ignored: [Int64] = []
    // Many events of a page may fail alike, and matching the patterns of rules costs time.
    var known: [FailureFacts: [FailureAction]] = [:]
    for finding in findings {
      let facts = finding.failure.facts(projection: definition.name)
      let actions = known[facts] ?? policy.actions(for: facts)
      known[facts] = actions
      guard actions.first?.passesEventOver == true || chains.contains(actions) else { throw finding.failure }
      switch actions.first(where: \.passesEventOver) {
      // Letters park a stream, so with parking an ignored event becomes a letter too.
      case .ignore? where parks && finding.failure.failureClass != .unknownEvent: fallthrough
      case .skip?:
        let shown = finding.failure.concealed(by: definition.concealment)
        letters.append(
          DeadLetters.Letter(
            sequence: finding.sequence, failureClass: finding.failure.failureClass.rawValue,
            sqlState: finding.failure.failure.code?.text, message: shown.failure.message,
            detail: shown.detail))
      case .ignore?: ignored.append(finding.sequence)
      default: throw finding.failure
      }
    }
    return (letters, ignored)
  }

  /// The statements that keep letters, before COMMIT.
  func keep(_ letters: [DeadLetters.Letter]) -> [SQL] {
    var statements = DeadLetters(shape).keep(letters, shard: shard, node: node)
    // Parks the streams of these letters: the page left out their later events.
    if parks, !letters.isEmpty { statements.append(park) }
    return statements
  }

  var park: SQL { "SELECT tidemark_internal.park(\(shard), \(node))" }
}
