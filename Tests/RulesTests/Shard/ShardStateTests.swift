import Rules
import Testing

@Suite struct `The state of a shard` {
  /// They are in databases, in scripts that read `status --json`, and in the status line of systemd.
  @Test func `has these words`() {
    #expect(
      ShardState.allCases.map(\.rawValue) == [
        "never run", "starting", "following", "catching up", "slow", "retrying", "paused", "stopped", "ended",
      ])
  }

  @Test func `is work, or needs an eye, and never both`() {
    #expect(ShardState.worstFirst == [.paused, .stopped, .retrying, .slow])
    #expect(ShardState.allCases.filter(\.isWorking) == [.starting, .following, .catchingUp])
    for state in ShardState.allCases where state.isWorking { #expect(state.severity == 0) }
  }

  @Test(
    arguments: [
      (.starting, .starting), (.following, .following), (.catchingUp, .catchingUp), (.retrying("a"), .retrying),
      (.paused("a"), .paused), (.stopped("a"), .stopped),
    ] as [(Shard.Condition, ShardState)])
  func `follows from its condition`(condition: Shard.Condition, state: ShardState) {
    #expect(condition.state == state && (condition.reason == nil) == state.isWorking)
  }

  @Test func `follows from a halt`() {
    #expect(Halt(.stop, by: .rebuild).state == .stopped)
    #expect(Halt(.pause(until: nil), by: .rebuild).state == .paused)
  }
}
