/// How many sequences the next page spans.
///
/// It grows towards the width with the best measured rate while pages stay within their time, and shrinks when they do not. Wider is not
/// always faster: a page that no longer fits the server's memory for sorting and hashing slows down, so the rate decides, not the clock
/// alone. Between equals the wider one wins: it costs less in everything but the statement itself. A page that fails because it is wide
/// limits the width for a while, also below the limits (``NarrowedWidth``).
package struct PageWidth: Sendable, Hashable {
  /// How wide pages may be and how long they may take, by who waits for them.
  package struct Bounds: Sendable, Hashable {
    /// In sequences.
    package let limits: ClosedRange<Int64>
    package let initial: Int64
    /// Below ``largeStepsBelow`` the width grows in steps of this factor, while pages take next to none of their time.
    let largeStep: Int64
    let largeStepsBelow: Int64
    /// Longest a page should take near the tail, where others wait for it.
    let tailTarget: Duration
    /// Longest a page should take far behind, where only the rate counts.
    let farTarget: Duration

    /// For a read model that serves readers, who wait for its pages.
    package static let live = Bounds(
      limits: 100...200_000, initial: 1_000, largeStep: 4, largeStepsBelow: 16_000, tailTarget: .milliseconds(250),
      farTarget: .seconds(2))
    /// For a rebuild: no reader waits for a page, and the fewer pages there are, the less often each row is written.
    package static let rebuild = Bounds(
      limits: 100...1_000_000, initial: 1_000, largeStep: 16, largeStepsBelow: 250_000, tailTarget: .seconds(5),
      farTarget: .seconds(5))
  }

  /// A narrower width must be faster by this factor to be chosen.
  static let gain = 1.05
  /// A wider width may be slower by this factor and still be chosen.
  static let loss = 0.97
  /// Full pages between two probes of a neighbouring width.
  static let probeEvery = 32

  package let bounds: Bounds
  package private(set) var width: Int64
  /// Sequences a second, smoothed, by width.
  private var rates: [Int64: Double] = [:]
  private var sinceProbe = 0
  /// The width to return to if the current probe is no better.
  private var home: Int64?
  private var narrowed = NarrowedWidth()

  package init(_ bounds: Bounds = .live) {
    self.bounds = bounds
    width = bounds.initial
  }

  /// The page after `floor`, or nil if there is nothing to do.
  ///
  /// - Parameter desert: numbers up to here have no event, so they add nothing to a page but its width.
  package func next(floor: Int64, mark: Int64, desert: Int64 = 0) -> Page? {
    guard mark > floor else { return nil }
    let start = min(max(floor, desert), mark)
    return Page(floor: floor, ceiling: mark.less(start) <= width ? mark : start.plus(width))
  }

  /// A page failed, and may have failed because of its width.
  ///
  /// - Returns: false if it cannot be narrower.
  package mutating func tooWide(_ page: Page) -> Bool {
    guard narrowed.failed(at: min(page.width, width)) else { return false }
    width = narrowed.narrowed(width)
    home = nil
    sinceProbe = 0
    return true
  }

  /// A page was searched for the events that fail. Its time says nothing about its width.
  package mutating func searched(_ page: Page) { widen(after: page) }

  private mutating func widen(after page: Page) {
    narrowed.applied(min(page.width, width), widest: bounds.limits.upperBound)
    // Below the limits the rate decides nothing.
    if width < bounds.limits.lowerBound { width = clamped(bounds.limits.lowerBound) }
  }

  /// Learns from a page. One that the mark or a limit of rows cut short says nothing about its width, nor one that is wider because it
  /// crossed numbers without events.
  package mutating func applied(_ page: Page, took: Duration, behind: Int64) {
    widen(after: page)
    let target = behind > 4 * width ? bounds.farTarget : bounds.tailTarget
    if took > target {
      let share = target / took
      width = clamped(min(width / 2, Int64(Double(width) * share)))
      home = nil
      sinceProbe = 0
      return
    }
    guard page.width == width, took > .zero else { return }
    let seconds: Double = took / .seconds(1)
    let rate = Double(page.width) / seconds
    rates[width] = rates[width].map { 0.6 * $0 + 0.4 * rate } ?? rate
    sinceProbe += 1
    choose(took: took, target: target)
  }

  private mutating func choose(took: Duration, target: Duration) {
    let here = rates[width] ?? 0
    if let home {
      self.home = nil
      sinceProbe = 0
      if here < (rates[home] ?? 0) * Self.loss {
        width = home
        return
      }
    }
    let takesLargeStep = took * 4 * Int(bounds.largeStep) <= target && width < bounds.largeStepsBelow
    let wider = clamped(width * (takesLargeStep ? bounds.largeStep : 2))
    if wider > width, took * 2 <= target, rates[wider].map({ $0 > here * Self.loss }) ?? true {
      home = rates[wider] == nil ? width : nil
      width = wider
      return
    }
    let narrower = clamped(width / 2)
    if narrower < width, let rate = rates[narrower], rate > here * Self.gain {
      width = narrower
      return
    }
    guard sinceProbe >= Self.probeEvery else { return }
    // Measure a neighbour again from time to time: the best width changes as the read model grows.
    sinceProbe = 0
    let candidates = [wider, narrower].filter { $0 != width && ($0 < width || took * 2 <= target) }
    guard let candidate = candidates.min(by: { (rates[$0] ?? .infinity) > (rates[$1] ?? .infinity) }) else { return }
    home = width
    width = candidate
  }

  private func clamped(_ width: Int64) -> Int64 {
    narrowed.narrowed(min(max(width, bounds.limits.lowerBound), bounds.limits.upperBound))
  }
}
