/// How dense events that fail have been in the pages looked through lately, and how wide it pays to look for more of them.
///
/// Newer pages weigh more: each halves what was known before.
struct PoisonDensity: Sendable {
  private var sequences = 0.0
  private var events = 0.0
  private var poison = 0.0

  /// Failing events that a page should have, about. The rows that one transaction writes again and again leave versions and locks behind
  /// that only its end lets the server remove: pages of few poison events are several times quicker than wide ones.
  static let poisonInPage = 10.0

  mutating func saw(_ page: Page, events: Int, poison: Int) {
    guard poison > 0 else { return self = PoisonDensity() }
    sequences = sequences / 2 + Double(page.width)
    self.events = self.events / 2 + Double(events)
    self.poison = self.poison / 2 + Double(poison)
  }

  /// Sequences in a page; as many as a live one may have while nothing is known.
  var width: Int64 {

    let limits = PageWidth.Bounds.live.limits
    return poison > 0 ? max(limits.lowerBound, Int64(Self.poisonInPage * sequences / poison)) : limits.upperBound

  }

  /// Events to try together at first, so that about every second try goes through; 0 for all while nothing is known.
  var chunk: Int { poison > 0 ? min(max(8, Int(0.7 * events / poison)), 100_000) : 0 }
}
