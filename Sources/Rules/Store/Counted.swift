// Numbers in sentences for operators.

/// `1 dead letter`, `2,000 dead letters`.
package func counted(_ number: some BinaryInteger, _ noun: String) -> String {
  "\(grouped(Int64(number))) \(noun)\(number == 1 ? "" : "s")"
}

/// `1234567` as `1,234,567`.
package func grouped(_ number: Int64) -> String {
  var digits = Array(String(number.magnitude))
  var position = digits.count - 3
  while position > 0 {
    digits.insert(",", at: position)
    position -= 3
  }
  return (number < 0 ? "-" : "") + String(digits)
}
