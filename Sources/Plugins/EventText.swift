/// Identifiers and times of events as text. Each function writes at a place in memory and returns the place after the
/// text.
package enum EventText {
  /// The length of the text that ``uuid(_:at:)`` writes.
  package static let uuidBytes = 36

  /// 16 bytes as `8-4-4-4-12` hexadecimal digits.
  package static func uuid(_ bytes: UnsafeRawBufferPointer, at place: UnsafeMutableRawPointer)
    -> UnsafeMutableRawPointer
  {
    var at = place
    for (index, value) in bytes.enumerated() {
      if index == 4 || index == 6 || index == 8 || index == 10 {
        at.storeBytes(of: UInt8(ascii: "-"), as: UInt8.self)
        at += 1
      }
      at = hex(value, at: at)
    }
    return at
  }

  package static func hex(_ value: UInt8, at place: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
    func digit(_ value: UInt8) -> UInt8 { value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") - 10 + value }
    place.storeBytes(of: digit(value >> 4), as: UInt8.self)
    place.storeBytes(of: digit(value & 15), toByteOffset: 1, as: UInt8.self)
    return place + 2
  }

  /// Microseconds from the Unix epoch to PostgreSQL's epoch, the year 2000.
  package static let postgresEpoch: Int64 = 946_684_800_000_000

  /// Converts microseconds since the year 2000 to microseconds since 1970. Infinities stay; a time that would overflow
  /// becomes the last one before infinity.
  package static func unixTime(_ microseconds: Int64) -> Int64 {
    guard microseconds != .max, microseconds != .min else { return microseconds }
    return min(microseconds, .max - 1 - postgresEpoch) + postgresEpoch
  }

  /// Microseconds since the year 2000 as `2026-11-21T11:03:41.123456Z`; infinities by PostgreSQL's names.
  package static func time(_ microseconds: Int64, at place: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
    guard microseconds != .max, microseconds != .min else {
      return ascii(microseconds > 0 ? "infinity" : "-infinity", at: place)
    }
    let (days, rest) = microseconds.quotientAndRemainder(dividingBy: 86_400_000_000)
    let (day, ofDay) = rest < 0 ? (days - 1, rest + 86_400_000_000) : (days, rest)
    let date = civil(daysSinceUnixEpoch: day + 10_957)
    // Years before 1 and after 9999 do not follow PostgreSQL's own notation; they are too rare to be worth it.
    var at = digits(date.year, date.year > 9999 ? 6 : 4, at: place)
    at = ascii("-", at: at)
    at = digits(date.month, 2, at: at)
    at = ascii("-", at: at)
    at = digits(date.day, 2, at: at)
    at = ascii("T", at: at)
    at = digits(ofDay / 3_600_000_000, 2, at: at)
    at = ascii(":", at: at)
    at = digits(ofDay / 60_000_000 % 60, 2, at: at)
    at = ascii(":", at: at)
    at = digits(ofDay / 1_000_000 % 60, 2, at: at)
    at = ascii(".", at: at)
    at = digits(ofDay % 1_000_000, 6, at: at)
    return ascii("Z", at: at)
  }

  /// The proleptic Gregorian date, as in Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms".
  static func civil(daysSinceUnixEpoch days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let shifted = days + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
  }

  private static func digits(_ value: Int64, _ count: Int, at place: UnsafeMutableRawPointer)
    -> UnsafeMutableRawPointer
  {
    var rest = value.magnitude
    for index in (0..<count).reversed() {
      place.storeBytes(of: UInt8(ascii: "0") + UInt8(rest % 10), toByteOffset: index, as: UInt8.self)
      rest /= 10
    }
    return place + count
  }

  private static func ascii(_ text: StaticString, at place: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
    place.copyMemory(from: text.utf8Start, byteCount: text.utf8CodeUnitCount)
    return place + text.utf8CodeUnitCount
  }
}
