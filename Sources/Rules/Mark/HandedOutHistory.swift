/// Which numbers had been handed out by when, for as far back as the grace reaches.
///
/// A missing sample makes an answer lower, never wrong, so samples closer together than `spacing` are not kept: that
/// bounds their number. Times never fall; see `SteadyClock`.
struct HandedOutHistory: Sendable {
  private var samples: [(time: Duration, handedOut: Int64)] = []

  mutating func note(_ handedOut: Int64, at time: Duration, spacing: Duration) {
    if let last = samples.last, handedOut <= last.handedOut || time < last.time + spacing { return }
    samples.append((time, handedOut))
  }

  /// The highest number known to have been handed out by `time`, or nil when no sample is that old.
  ///
  /// Forgets what lies before the answer: it must be asked for later and later times.
  mutating func handedOut(by time: Duration) -> Int64? {
    guard let newest = samples.lastIndex(where: { $0.time <= time }) else { return nil }
    samples.removeFirst(newest)
    return samples[0].handedOut
  }
}

/// Time as it surely went by: follows a clock that others may set, never backwards and never in a leap.
///
/// A clock set back stands still for one reading. One set forward gains a single `longestStep`, so that it cannot make a
/// grace look over that has barely begun. Readings further apart than that count for less than they were: later, not wrong.
struct SteadyClock: Sendable {
  let longestStep: Duration
  private var elapsed: Duration = .zero
  private var last: Duration?

  init(longestStep: Duration) {
    self.longestStep = longestStep
  }

  mutating func advance(to reading: Duration) -> Duration {
    if let last { elapsed += min(max(reading - last, .zero), longestStep) }
    last = reading
    return elapsed
  }
}
