import EventStore
import Postgres
import Rules
import Synchronization
import Telemetry

/// What keeps the agents of one database from their work: the place that says so, in the log and in the line for the service manager.
///
/// An agent that loses its session tries again without a word, and everything that depends on it goes stale. So each runs its work through
/// ``doing(_:_:)``, which knows how long it has failed or waited.
final class TroubleBoard: Sendable {
  /// An agent whose trouble nothing else reports.
  enum Agent: String, Sendable, CaseIterable {
    case states = "the writer of shards' states"
    case requests = "the reader of requests"
    case gaps = "the watch of skipped gaps"
    case mark = "the record of the mark"
    case presence = "the session that lists this node"

    /// What is not done meanwhile.
    var undone: String {
      switch self {
      case .states: "`tidemark status` shows the states of this node's shards as they were"
      case .requests: "this node obeys no pause, resume, stop, start or rebuild"
      case .gaps: "events that arrive late, in gaps that the mark skipped, are not found"
      case .mark: "`tidemark status`, and a restart, know an earlier mark"
      case .presence: "no other node knows of this one, and one that starts is not refused"
      }
    }
  }

  private struct State {
    var troubles: [Agent: (trouble: AgentTrouble, words: String)] = [:]
    var away: String?
  }

  private let observer: any Observer
  private let state = Mutex(State())

  init(_ observer: any Observer) { self.observer = observer }

  /// Runs an agent's work once, and reports it if it fails or waits for some seconds.
  func doing<T: Sendable>(_ agent: Agent, _ work: @escaping @Sendable () async throws -> T) async throws -> T {
    do {
      let value = try await withThrowingTaskGroup(of: T?.self) { group in
        group.addTask { try await work() }
        group.addTask { [self] in
          let began = ContinuousClock.now
          while true {
            try await Task.sleep(for: AgentTrouble.patience)
            let lasted = ContinuousClock.now - began
            failed(agent, Problem("no answer, or a lock that another session holds"), after: lasted)
          }
        }
        defer { group.cancelAll() }
        while true {
          if let value = try await group.next(), let value { return value }
        }
      }
      worked(agent)
      return value
    } catch {
      if !(error is CancellationError), (error as? PostgresError)?.isCancelled != true {
        failed(agent, Problem(of: error))
      }
      throw error
    }
  }

  /// - Parameter lasted: how long the agent has been waiting.
  func failed(_ agent: Agent, _ failure: Problem, after lasted: Duration = .zero) {
    let report = state.withLock { state -> Duration? in
      // The agent of the mark reports a database that is away, and it is the reason for everything else.
      guard state.away == nil else { return nil }
      var trouble = state.troubles[agent]?.trouble ?? AgentTrouble()
      let report = trouble.failed(at: .now, after: lasted)
      state.troubles[agent] = (trouble, failure.lastWords)
      return report
    }
    if let report {
      observer.observe(.agentHindered(agent.rawValue, for: report, undone: agent.undone, failure: failure))
    }
  }

  func worked(_ agent: Agent) {
    let report = state.withLock { state in
      var trouble = state.troubles.removeValue(forKey: agent)?.trouble
      return trouble?.worked(at: .now)
    }
    if let report { observer.observe(.agentWorks(agent.rawValue, after: report)) }
  }

  /// The database cannot be followed, for this reason; its mark is not known.
  func isAway(_ failure: Problem) { state.withLock { $0.away = failure.lastWords } }

  /// The mark is known again.
  func isBack() {
    state.withLock { state in
      guard state.away != nil else { return }
      state.away = nil
      // What failed because of that does not count.
      state.troubles = state.troubles.filter { $0.value.trouble.isTold }
    }
  }

  /// Why the database cannot be followed; nil if it can.
  var away: String? { state.withLock { $0.away } }

  /// The agents that have reported that they cannot do their work, each with the reason.
  var hindered: [String] {
    state.withLock { state in
      Agent.allCases.compactMap { agent in
        state.troubles[agent].flatMap { $0.trouble.isTold ? "\(agent.rawValue): \($0.words)" : nil }
      }
    }
  }
}

extension Problem {
  /// The message in one short line: of a refused connection only what the server said.
  var lastWords: String {
    let line = message.split(whereSeparator: \.isNewline).last.map(String.init) ?? message
    let said = line.firstRange(of: "FATAL:  ").map { String(line[$0.upperBound...]) } ?? line
    return said.count > 160 ? said.prefix(160) + "..." : said
  }
}
