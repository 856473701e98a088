extension Duration {
  /// Parses a duration as the settings write it: a whole number and a unit, `250ms`, `30s`, `5m`, `1h`, `7d`.
  package init?(setting text: String) {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    let unit = text.dropFirst(digits.count).drop { $0 == " " }
    guard let number = Int64(digits), let scale = Self.units.first(where: { $0.names.contains(String(unit)) }) else {
      return nil
    }
    let (milliseconds, overflow) = number.multipliedReportingOverflow(by: scale.milliseconds)
    // A century; clock arithmetic with longer durations would overflow.
    guard !overflow, milliseconds <= 100 * 366 * 86_400_000 else { return nil }
    self = .milliseconds(milliseconds)
  }

  /// The shortest text that `init(setting:)` parses as this duration, truncated to whole milliseconds.
  package var settingText: String {
    let milliseconds = components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
    guard milliseconds != 0 else { return "0s" }
    let unit = Self.units.last { milliseconds % $0.milliseconds == 0 }!
    return "\(milliseconds / unit.milliseconds)\(unit.names[0])"
  }

  private static let units: [(names: [String], milliseconds: Int64)] = [
    (["ms"], 1), (["s"], 1000), (["m", "min"], 60_000), (["h"], 3_600_000), (["d"], 86_400_000),
  ]
}
