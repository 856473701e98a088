/// One statement with its values. An interpolated value becomes a bind, so it can never be read as SQL:
///
///     let statement: SQL = "SELECT * FROM \(identifier: table) WHERE id = \(id)"
package struct SQL: Sendable, Hashable, ExpressibleByStringInterpolation {
  package var text: String
  package var binds: [Bind]

  package init(text: String, binds: [Bind] = []) {
    self.text = text
    self.binds = binds
  }

  package init(stringLiteral text: String) { self.init(text: text) }

  package init(stringInterpolation: StringInterpolation) {
    self.init(text: stringInterpolation.text, binds: stringInterpolation.binds)
  }

  package struct StringInterpolation: StringInterpolationProtocol {
    var text = ""
    var binds: [Bind] = []

    package init(literalCapacity: Int, interpolationCount: Int) {
      text.reserveCapacity(literalCapacity + 4 * interpolationCount)
    }

    package mutating func appendLiteral(_ literal: String) { text += literal }

    package mutating func appendInterpolation(_ value: some PostgresEncodable) {
      binds.append(value.bind)
      text += "$\(binds.count)"
    }

    package mutating func appendInterpolation<Value: PostgresEncodable>(_ value: Value?) {
      binds.append(Bind(value.flatMap(\.postgresText), type: Value.postgresType))
      text += "$\(binds.count)"
    }

    package mutating func appendInterpolation(identifier name: String) { text += SQL.quoted(name) }

    /// A part of the statement with its own binds, which are renumbered. Its text must not contain `$1` in any other
    /// sense.
    package mutating func appendInterpolation(_ part: SQL) {
      let offset = binds.count
      text += part.text.replacing(#/\$([0-9]+)/#) { "$\(Int($0.output.1)! + offset)" }
      binds += part.binds
    }

    /// Trusted text that becomes part of the statement, not a value.
    package mutating func appendInterpolation(raw: String) { text += raw }
  }

  /// `name` as a quoted identifier.
  package static func quoted(_ name: String) -> String { doubled("\"", in: name) }

  /// `text` as a quoted literal, for DDL, which takes no binds.
  package static func quoted(literal text: String) -> String {
    (text.contains("\\") ? " E" : "") + doubled("'", in: text.contains("\\") ? doubledBackslashes(text) : text)
  }

  private static func doubled(_ quote: Character, in text: String) -> String {
    "\(quote)" + text.reduce(into: "") { $0 += $1 == quote ? "\(quote)\(quote)" : "\($1)" } + "\(quote)"
  }

  private static func doubledBackslashes(_ text: String) -> String {
    text.reduce(into: "") { $0 += $1 == "\\" ? "\\\\" : "\($1)" }
  }
}

/// A value for a parameter, in PostgreSQL's text format.
package struct Bind: Sendable, Hashable {
  /// Nil for NULL.
  package var text: String?
  /// The type's OID; 0 lets the server infer it.
  package var type: UInt32

  package init(_ text: String?, type: UInt32 = 0) {
    self.text = text
    self.type = type
  }
}

/// A type that can be interpolated into ``SQL``.
package protocol PostgresEncodable {
  static var postgresType: UInt32 { get }
  var postgresText: String? { get }
}

extension PostgresEncodable {
  var bind: Bind { Bind(postgresText, type: Self.postgresType) }
}

extension String: PostgresEncodable {
  package static var postgresType: UInt32 { 25 }
  package var postgresText: String? { self }
}

extension Int: PostgresEncodable {
  package static var postgresType: UInt32 { 20 }
  package var postgresText: String? { description }
}

extension Int64: PostgresEncodable {
  package static var postgresType: UInt32 { 20 }
  package var postgresText: String? { description }
}

extension Double: PostgresEncodable {
  package static var postgresType: UInt32 { 701 }
  package var postgresText: String? { isNaN ? "NaN" : isInfinite ? (self < 0 ? "-Infinity" : "Infinity") : description }
}

extension Bool: PostgresEncodable {
  package static var postgresType: UInt32 { 16 }
  package var postgresText: String? { self ? "t" : "f" }
}

extension Array: PostgresEncodable where Element: PostgresArrayElement {
  package static var postgresType: UInt32 { Element.postgresArrayType }

  /// `{"a","b"}`: every element is quoted, so there are no special cases.
  package var postgresText: String? {
    "{"
      + map { element in
        "\"" + (element.postgresText ?? "").reduce(into: "") { $0 += $1 == "\"" || $1 == "\\" ? "\\\($1)" : "\($1)" }
          + "\""
      }.joined(separator: ",") + "}"
  }
}

package protocol PostgresArrayElement: PostgresEncodable {
  static var postgresArrayType: UInt32 { get }
}

extension String: PostgresArrayElement { package static var postgresArrayType: UInt32 { 1009 } }
extension Int64: PostgresArrayElement { package static var postgresArrayType: UInt32 { 1016 } }
