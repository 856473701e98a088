import Foundation

/// One measured quantity, with the values of all runs.
struct Figure: Codable, Sendable {
  enum Better: String, Codable, Sendable { case higher, lower }

  var name: String
  var unit: String
  var runs: [Double]
  var better: Better
  /// The target; nil if the figure is only informative.
  var target: Double?

  init(_ name: String, _ unit: String, _ runs: [Double], _ better: Better, target: Double? = nil) {
    self.name = name
    self.unit = unit
    self.runs = runs
    self.better = better
    self.target = target
  }

  var median: Double { runs.percentile(50) }

  var isReached: Bool? {
    target.map { better == .higher ? median >= $0 : median <= $0 }
  }

  private enum CodingKeys: String, CodingKey { case name, unit, median, runs, better, target, isReached = "reached" }

  init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    name = try values.decode(String.self, forKey: .name)
    unit = try values.decode(String.self, forKey: .unit)
    runs = try values.decode([Double].self, forKey: .runs)
    better = try values.decode(Better.self, forKey: .better)
    target = try values.decodeIfPresent(Double.self, forKey: .target)
  }

  func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encode(name, forKey: .name)
    try values.encode(unit, forKey: .unit)
    try values.encode(median, forKey: .median)
    try values.encode(runs, forKey: .runs)
    try values.encode(better, forKey: .better)
    try values.encodeIfPresent(target, forKey: .target)
    try values.encodeIfPresent(isReached, forKey: .isReached)
  }
}

extension [Double] {
  /// The percentile by nearest rank; 0 for an empty array.
  func percentile(_ percent: Double) -> Double {
    guard !isEmpty else { return 0 }
    let rank = Int((percent / 100 * Double(count)).rounded(.up))
    return sorted()[Swift.min(Swift.max(rank, 1), count) - 1]
  }
}

/// All results of one run of the benchmark, for scripts.
struct Report: Codable, Sendable {
  var machine: [String: String]
  var command: String
  var figures: [Figure]

  var json: String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    return String(decoding: (try? encoder.encode(self)) ?? Data(), as: UTF8.self)
  }
}

extension Figure {
  static let heading = line("WHAT", "MEDIAN", "UNIT", "SPREAD", "TARGET")

  var line: String {
    let spread = runs.count > 1 ? "\(Self.text(runs.min()!)) … \(Self.text(runs.max()!))" : ""
    let goal = target.map { "\(better == .higher ? "≥" : "≤") \(Self.text($0)) \(isReached! ? "reached" : "MISSED")" }
    return Self.line(name, Self.text(median), unit, spread, goal ?? "")
  }

  private static func line(_ cells: String...) -> String {
    let widths = [62, 10, 10, 22, 0]
    var text = ""
    for (index, cell) in cells.enumerated() {
      let padding = String(repeating: " ", count: max(0, widths[index] - cell.count))
      text += index == 1 ? "\(padding)\(cell) " : "\(cell)\(padding) "
    }
    return text
  }

  /// The value with three significant digits.
  private static func text(_ value: Double) -> String {
    switch abs(value) {
    case 1000...:
      return value.formatted(
        .number.precision(.fractionLength(0)).locale(Locale(identifier: "en_US_POSIX")).grouping(.automatic))
    case 100..<1000: return String(format: "%.0f", value)
    case 10..<100: return String(format: "%.1f", value)
    default: return String(format: "%.2f", value)
    }
  }
}
