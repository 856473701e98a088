import Rules

/// The single description of a key; decoding, `print-config`, the sample file and the manual all use it.
struct Key<Root: Sendable>: Sendable {
  /// The key with its tables, `event_store.gap_grace`; a projection's keys are relative to the projection.
  var path: String
  /// The form of a value: "an integer from 1 to 100".
  var form: String
  /// The meaning in full sentences, for the sample file and the manual.
  var meaning: String
  /// An example value in TOML, for a key without a default.
  var example: String?
  /// A running daemon takes over a new value at the next reload; otherwise it needs a restart.
  var isReloadable = false
  /// The value may contain a password, so a problem does not repeat it.
  var isSecret = false
  /// Stores the value in the root, or throws why it does not fit.
  var decode: @Sendable (TOMLValue, inout Root) throws(Mismatch) -> Void
  /// The value in the root as TOML; nil if it is not set.
  var show: @Sendable (Root) -> String?

  /// Copies the value from the first root to the second, for a reload.
  var take: @Sendable (Root, inout Root) -> Void = { _, _ in }

  var name: String { String(path.split(separator: ".").last ?? "") }
}

/// A value that a key does not accept.
struct Mismatch: Error {
  /// Nil to report the key's form.
  var expected: String?
  /// Nil to report the value itself.
  var found: String?
  var hint: String?
}

extension Key {
  typealias Path<Value> = any WritableKeyPath<Root, Value> & Sendable

  static func integer(
    _ path: String, _ value: Path<Int>, _ range: ClosedRange<Int>, _ meaning: String, reloadable: Bool = false
  ) -> Key {
    Key(
      path: path, form: "an integer from \(range.lowerBound) to \(range.upperBound)", meaning: meaning,
      isReloadable: reloadable,
      decode: { toml, root throws(Mismatch) in
        guard case .integer(let number) = toml.content, let number = Int(exactly: number), range.contains(number) else {
          throw Mismatch()
        }
        root[keyPath: value] = number
      },
      show: { "\($0[keyPath: value])" },
      take: { $1[keyPath: value] = $0[keyPath: value] })
  }

  static func duration(
    _ path: String, _ value: Path<Duration>, _ range: ClosedRange<Duration>, _ meaning: String, reloadable: Bool = false
  ) -> Key {
    let examples = [Duration.milliseconds(250), .seconds(30), .seconds(300), .seconds(3600)].filter(range.contains)
      .map { TOMLText.string($0.settingText) }
    return Key(
      path: path,
      form:
        "a duration from \(range.lowerBound.settingText) to \(range.upperBound.settingText), like \(examples.joined(separator: ", "))",
      meaning: meaning, isReloadable: reloadable,
      decode: { toml, root throws(Mismatch) in
        guard case .string(let text) = toml.content, let duration = Duration(setting: text), range.contains(duration)
        else {
          throw Mismatch()
        }
        root[keyPath: value] = duration
      },
      show: { TOMLText.string($0[keyPath: value].settingText) },
      take: { $1[keyPath: value] = $0[keyPath: value] })
  }

  static func boolean(_ path: String, _ value: Path<Bool>, _ meaning: String, reloadable: Bool = false) -> Key {
    Key(
      path: path, form: "true or false", meaning: meaning, isReloadable: reloadable,
      decode: { toml, root throws(Mismatch) in
        guard case .boolean(let flag) = toml.content else { throw Mismatch() }
        root[keyPath: value] = flag
      },
      show: { "\($0[keyPath: value])" },
      take: { $1[keyPath: value] = $0[keyPath: value] })
  }

  /// An amount of memory in PostgreSQL's notation.
  static func memory(_ path: String, _ value: Path<String>, _ meaning: String) -> Key {
    Key(
      path: path, form: "an amount of memory, like \"64kB\", \"32MB\" or \"1GB\"", meaning: meaning,
      decode: { toml, root throws(Mismatch) in
        guard case .string(let text) = toml.content, text.wholeMatch(of: #/[1-9][0-9]{0,5}(kB|MB|GB)/#) != nil else {
          throw Mismatch(hint: "use the unit kB, MB or GB")
        }
        root[keyPath: value] = text
      },
      show: { TOMLText.string($0[keyPath: value]) },
      take: { $1[keyPath: value] = $0[keyPath: value] })
  }

  static func choice<Value: RawRepresentable<String> & CaseIterable & Sendable>(
    _ path: String, _ value: Path<Value>, _ meaning: String, reloadable: Bool = false
  ) -> Key {
    let names = Value.allCases.map(\.rawValue)
    return Key(
      path: path, form: oneOf(names), meaning: meaning, isReloadable: reloadable,
      decode: { toml, root throws(Mismatch) in
        guard case .string(let text) = toml.content else { throw Mismatch() }
        guard let choice = Value(rawValue: text) else {
          throw Mismatch(hint: nearestName(to: text, in: names).map { "did you mean \"\($0)\"?" })
        }
        root[keyPath: value] = choice
      },
      show: { TOMLText.string($0[keyPath: value].rawValue) },
      take: { $1[keyPath: value] = $0[keyPath: value] })
  }

  /// Some of the values of an enumeration, each once.
  static func choices<Value: RawRepresentable<String> & CaseIterable & Hashable & Sendable>(
    _ path: String, _ value: Path<Set<Value>>, _ meaning: String, reloadable: Bool = false
  ) -> Key {
    let names = Value.allCases.map(\.rawValue)
    return Key(
      path: path, form: "a list of \(oneOf(names))", meaning: meaning, isReloadable: reloadable,
      decode: { toml, root throws(Mismatch) in
        guard case .array(let items) = toml.content else { throw Mismatch() }
        var chosen: Set<Value> = []
        for item in items {
          guard case .string(let text) = item.content else { throw Mismatch() }
          guard let choice = Value(rawValue: text) else {
            throw Mismatch(
              found: "\"\(text)\"", hint: nearestName(to: text, in: names).map { "did you mean \"\($0)\"?" })
          }
          chosen.insert(choice)
        }
        root[keyPath: value] = chosen
      },
      show: { root in TOMLText.strings(names.filter { root[keyPath: value].map(\.rawValue).contains($0) }) },
      take: { $1[keyPath: value] = $0[keyPath: value] })
  }

  static func string(_ path: String, _ value: Path<String>, _ form: String, _ meaning: String, reloadable: Bool = false)
    -> Key
  {
    Key(
      path: path, form: form, meaning: meaning, isReloadable: reloadable,
      decode: { toml, root throws(Mismatch) in
        guard case .string(let text) = toml.content, !text.isEmpty else { throw Mismatch() }
        root[keyPath: value] = text
      },
      show: { TOMLText.string($0[keyPath: value]) },
      take: { $1[keyPath: value] = $0[keyPath: value] })
  }

  static func optionalString(_ path: String, _ value: Path<String?>, _ form: String, example: String, _ meaning: String)
    -> Key
  {
    Key(
      path: path, form: form, meaning: meaning, example: TOMLText.string(example),
      decode: { toml, root throws(Mismatch) in
        guard case .string(let text) = toml.content, !text.isEmpty else { throw Mismatch() }
        root[keyPath: value] = text
      },
      show: { $0[keyPath: value].map(TOMLText.string) },
      take: { $1[keyPath: value] = $0[keyPath: value] })
  }

  static func oneOf(_ names: [String]) -> String {
    let quoted = names.map { "\"\($0)\"" }
    return quoted.count == 1 ? quoted[0] : quoted.dropLast().joined(separator: ", ") + " or " + quoted.last!
  }
}

/// Values as TOML text.
enum TOMLText {
  static func string(_ text: String) -> String {
    "\"" + text.unicodeScalars.reduce(into: "") { $0 += escaped($1) } + "\""
  }

  /// Text with line breaks as a multi-line literal string if possible, since that is easier to read.
  static func block(_ text: String) -> String {
    let isLiteral = text.unicodeScalars.allSatisfy {
      $0 == "\n" || $0 == "\t" || ($0.value >= 0x20 && $0.value != 0x7F)
    }
    guard text.contains("\n") || text.contains("\"") || text.contains("\\") else { return string(text) }
    guard isLiteral, !text.contains("'''"), !text.hasSuffix("'") else { return string(text) }
    return "'''\n\(text)'''"
  }

  static func strings(_ texts: [String]) -> String { "[" + texts.map(string).joined(separator: ", ") + "]" }

  /// A key needs quotes unless it is made of letters, digits, `_` and `-`.
  static func key(_ name: String) -> String {
    let isBare =
      !name.isEmpty
      && name.utf8.allSatisfy {
        switch $0 {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"),
          UInt8(ascii: "_"), UInt8(ascii: "-"):
          true
        default: false
        }
      }
    return isBare ? name : string(name)
  }

  private static func escaped(_ scalar: Unicode.Scalar) -> String {
    switch scalar {
    case "\"": "\\\""
    case "\\": "\\\\"
    case "\n": "\\n"
    case "\t": "\\t"
    case "\r": "\\r"
    case _ where scalar.value < 0x20 || scalar.value == 0x7F:
      "\\u" + String(repeating: "0", count: 4 - String(scalar.value, radix: 16).count) + String(scalar.value, radix: 16)
    default: String(scalar)
    }
  }
}
