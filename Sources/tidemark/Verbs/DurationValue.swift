import Commands
import Settings

extension Value where Parsed == Duration {
  /// A duration as the settings file writes one.
  ///
  /// - Parameter isPositive: whether zero is refused.
  static func duration(isPositive: Bool = false) -> Value {
    Value("DURATION", expected: "a duration like 30s, 5m or 250ms", write: \.settingText) { text in
      Duration(setting: text).flatMap { isPositive && $0 <= .zero ? nil : $0 }
    }
  }
}
