/// The highest number handed out by each moment, as far back as the grace reaches.
///
/// A missing sample makes an answer lower, never wrong, so samples closer together than `spacing` are dropped, which
/// bounds their number. Times never decrease; see `SteadyClock`.
struct HandedOutHistory: Sendable {
  private var samples: [(time: Duration, handedOut: Int64)] = []

  mutating func note(_ handedOut: Int64, at time: Duration, spacing: Duration) {
    if let last = samples.last, handedOut <= last.handedOut || time < last.time + spacing { return }
    samples.append((time, handedOut))
  }

  /// The highest number known to have been handed out by `time`, or nil if no sample is that old.
  ///
  /// Forgets the samples before the answer, so each call must ask for a later time.
  mutating func handedOut(by time: Duration) -> Int64? {
    guard let newest = samples.lastIndex(where: { $0.time <= time }) else { return nil }
    samples.removeFirst(newest)
    return samples[0].handedOut
  }
}

/// The time that has surely passed: follows a clock that others may set, but never goes back and never leaps.
///
/// If the clock is set back, one reading adds nothing. If it is set forward, one reading adds `longestStep` at most, so that a
/// grace that has barely begun does not look over. Readings further apart than that count for less than they were, which makes the
/// grace end later, and is not wrong.
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
