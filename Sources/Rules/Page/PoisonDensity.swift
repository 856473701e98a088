/// How dense failing events were in the pages searched lately, and the width that pays off for further searches.
///
/// Newer pages weigh more: each halves the weight of all earlier ones.
struct PoisonDensity: Sendable {
  private var sequences = 0.0
  private var events = 0.0
  private var poison = 0.0

  /// About how many failing events a page should have. A row that one transaction writes repeatedly leaves versions and locks behind,
  /// which the server can remove only after its end: pages with few poison events are several times faster than wide ones.
  static let poisonInPage = 10.0

  mutating func saw(_ page: Page, events: Int, poison: Int) {
    guard poison > 0 else { return self = PoisonDensity() }
    sequences = sequences / 2 + Double(page.width)
    self.events = self.events / 2 + Double(events)
    self.poison = self.poison / 2 + Double(poison)
  }

  /// Sequences in a page; as many as a live one may have as long as nothing is known.
  var width: Int64 {
    let limits = PageWidth.Bounds.live.limits
    return poison > 0 ? max(limits.lowerBound, Int64(Self.poisonInPage * sequences / poison)) : limits.upperBound
  }

  /// Events to try together at first, so that about every second attempt succeeds; 0 for all as long as nothing is known.
  var chunk: Int { poison > 0 ? min(max(8, Int(0.7 * events / poison)), 100_000) : 0 }
}
