import Books
import Rules
import Telemetry

/// Performs the page commands of the rule ``Shard``, for live shards and rebuilds. Its caller performs the waits, and reports the outcome of
/// each step.
struct PageRunner: Sendable {
  let context: ShardContext
  let applier: any PageApplier
  /// Called when a page runs longer than expected.
  var onSlow: (@Sendable (Page, Duration) async -> Void)?

  /// The outcome of a step.
  struct Step: Sendable {
    /// The rule's next command.
    var next: Shard.Command
    var applied: (page: Page, took: Duration)?
    var failed: PageFailure?
    /// The next command searches the page for the event that fails. Callers do not report this; they report what the search finds.
    var isSearch = false
    /// The page failed, perhaps because it was wide, and the next command tries a narrower one at once.
    var isNarrowing = false
  }

  /// Applies a page, whole or event by event.
  func apply(
    _ page: Page, _ mode: Projector.Mode, _ rule: inout Shard, isolation: isolated (any Actor)? = #isolation
  ) async throws -> Step {
    var applied: (Page, Duration)?
    var step = try await attempt(&rule, page) { rule in
      let (policy, chains) = (await context.policy(), rule.passingChains)
      let began = ContinuousClock.now
      switch try await run(page, mode, policy, chains) {
      case .beyond(let mark):
        _ = rule.markMoved(to: mark)
        return .readPosition
      case .changed: return .readPosition
      case .applied(let done):
        let took = ContinuousClock.now - began
        applied = (done.page, took)
        context.observer.observe(done.letters, of: context.name)
        return mode == .whole
          ? rule.pageApplied(done.page, took: took, nextEvent: done.nextEvent)
          : rule.pageIsolated(done.page, events: done.events ?? 0, poison: done.poison)
      }
    }
    step.applied = applied
    return step
  }

  private func run(
    _ page: Page, _ mode: Projector.Mode, _ policy: FailurePolicy, _ chains: Set<[FailureAction]>
  ) async throws -> PageOutcome {
    guard let onSlow else { return try await applier.apply(page, mode, policy: policy, chains: chains) }
    return try await watched({ await onSlow(page, $0) }) { [applier] in
      try await applier.apply(page, mode, policy: policy, chains: chains)
    }
  }

  /// Runs a step; if it fails, the failure policy and the rule decide the next command.
  ///
  /// - Throws: an error that is not a failure of the step, such as `CancellationError`.
  func attempt(
    _ rule: inout Shard, _ page: Page? = nil, isolation: isolated (any Actor)? = #isolation,
    _ step: (inout Shard) async throws -> Shard.Command
  ) async throws -> Step {
    let failed: PageFailure
    do {
      return Step(next: try await step(&rule))
    } catch {
      failed = try PageFailure(of: error)
    }
    let actions = await context.policy().actions(for: failed.facts(projection: context.definition.name))
    // Rules on messages match what the server said.
    let shown = failed.concealed(by: context.definition.concealment)
    let next = rule.failed(
      failed.failureClass, shown.failure.reason, actions: actions, page: page, width: failed.width)
    return Step(
      next: next, failed: shown,
      isSearch: !rule.isNarrowing && next == .wait(.zero) && actions.first?.passesEventOver ?? false,
      isNarrowing: rule.isNarrowing)
  }
}
