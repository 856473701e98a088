import CTomlplusplus

/// A TOML file as a tree in which every key and every value has its place.
struct TOMLValue: Sendable {
  enum Content: Sendable {
    case string(String)
    case integer(Int64)
    case float(Double)
    case boolean(Bool)
    /// A date, a time, or both, as TOML writes it.
    case time(String)
    case array([TOMLValue])
    case table([TOMLEntry])
    /// A string with an unset variable; the problem has been reported already.
    case unusable
  }

  var content: Content
  var place: TOMLPlace
  /// The text in the file, if `${NAME}` in it was replaced. Only this is shown.
  var written: String?
  /// The line on which a string's text begins: for a multi-line string, the line after the opening quotes.
  var textLine = 0

  /// The entries of a table in the order of the file; empty for anything else.
  var entries: [TOMLEntry] {
    if case .table(let entries) = content { entries } else { [] }
  }
}

struct TOMLEntry: Sendable {
  var key: String
  var place: TOMLPlace
  var value: TOMLValue
}

/// Counted from 1.
struct TOMLPlace: Hashable, Comparable, Sendable {
  var line: Int
  var column: Int

  static func < (a: TOMLPlace, b: TOMLPlace) -> Bool { (a.line, a.column) < (b.line, b.column) }
}

struct TOMLError: Error, Hashable {
  var message: String
  var place: TOMLPlace
}

enum TOML {
  /// Larger files are refused: no one writes a settings file of this size by hand.
  static let sizeLimit = 1 << 20
  /// Deeper keys are refused before toml++ sees them: it recurses once per level.
  static let depthLimit = 64

  /// The entries of a whole file.
  static func parse(_ text: String) throws(TOMLError) -> [TOMLEntry] {
    guard text.utf8.count <= sizeLimit else {
      throw TOMLError(message: "the file is larger than \(sizeLimit >> 10) KiB", place: TOMLPlace(line: 1, column: 1))
    }
    if let line = lineOfDeepKey(text) {
      throw TOMLError(message: "a key has more than \(depthLimit) parts", place: TOMLPlace(line: line, column: 1))
    }
    let builder = TreeBuilder(lines: text.split(separator: "\n", omittingEmptySubsequences: false))
    var text = text
    return try withExtendedLifetime(builder) { () throws(TOMLError) in
      var visitor = tidemark_toml_visitor(
        context: Unmanaged.passUnretained(builder).toOpaque(),
        value: { context, value in TreeBuilder.from(context).enter(value!.pointee) },
        leave: { context in TreeBuilder.from(context).leave() },
        error: { context, message, place in
          TreeBuilder.from(context).error = TOMLError(message: String(message), place: TOMLPlace(place))
        })
      let isRead = text.withUTF8 { bytes in
        bytes.withMemoryRebound(to: CChar.self) { tidemark_toml_visit($0.baseAddress, $0.count, &visitor) }
      }
      guard isRead else {
        throw builder.error ?? TOMLError(message: "cannot be read", place: TOMLPlace(line: 1, column: 1))
      }
      return builder.root
    }
  }

  /// The line of the first dotted key deeper than the limit.
  private static func lineOfDeepKey(_ text: String) -> Int? {
    var line = 1
    var dots = 0
    var sawPart = false
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\n"):
        line += 1
        dots = 0
      case UInt8(ascii: "."):
        dots = sawPart ? dots + 1 : 0
        sawPart = false
        if dots >= depthLimit { return line }
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"),
        UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "\""), UInt8(ascii: "'"):
        sawPart = true
      case UInt8(ascii: " "), UInt8(ascii: "\t"): break
      default: dots = 0
      }
    }
    return nil
  }
}

/// Builds the tree from toml++'s visits.
private final class TreeBuilder {
  var root: [TOMLEntry] = []
  var error: TOMLError?
  private var open: [(entry: TOMLEntry, isArray: Bool, children: [TOMLEntry])] = []
  private let lines: [Substring]

  init(lines: [Substring]) { self.lines = lines }

  static func from(_ context: UnsafeMutableRawPointer?) -> TreeBuilder {
    Unmanaged<TreeBuilder>.fromOpaque(context!).takeUnretainedValue()
  }

  func enter(_ value: tidemark_toml_value) {
    var entry = TOMLEntry(
      key: String(value.key), place: TOMLPlace(value.key_place),
      value: TOMLValue(content: .unusable, place: TOMLPlace(value.place)))
    switch value.kind {
    case tidemark_toml_string:
      entry.value.content = .string(String(value.text))
      entry.value.textLine = lineOfText(entry.value.place)
    case tidemark_toml_integer: entry.value.content = .integer(value.integer)
    case tidemark_toml_float: entry.value.content = .float(value.number)
    case tidemark_toml_boolean: entry.value.content = .boolean(value.boolean)
    case tidemark_toml_time: entry.value.content = .time(String(value.text))
    default:
      open.append((entry, value.kind == tidemark_toml_array, []))
      return
    }
    add(entry)
  }

  func leave() {
    var (entry, isArray, children) = open.removeLast()
    if isArray {
      entry.value.content = .array(children.map(\.value))
    } else {
      // toml++ sorts keys alphabetically; restore the order of the file.
      entry.value.content = .table(children.sorted { $0.place < $1.place })
    }
    add(entry)
  }

  private func lineOfText(_ place: TOMLPlace) -> Int {
    guard lines.indices.contains(place.line - 1) else { return place.line }
    let rest = String(lines[place.line - 1].unicodeScalars.dropFirst(max(0, place.column - 1)))
    let opensBlock = ["'''", "\"\"\"", "'''\r", "\"\"\"\r"].contains(rest)
    return opensBlock ? place.line + 1 : place.line
  }

  private func add(_ entry: TOMLEntry) {
    if open.isEmpty { root = entry.value.entries } else { open[open.count - 1].children.append(entry) }
  }
}

extension TOMLPlace {
  fileprivate init(_ place: tidemark_toml_place) {
    self.init(line: Int(place.line), column: Int(place.column))
  }
}

extension String {
  fileprivate init(_ text: tidemark_toml_text) {
    let bytes = UnsafeBufferPointer(start: text.bytes, count: text.length)
    self = bytes.withMemoryRebound(to: UInt8.self) { String(decoding: $0, as: UTF8.self) }
  }
}
