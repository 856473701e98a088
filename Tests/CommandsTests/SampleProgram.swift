import Commands

/// A program with a few verbs, and every kind of option and argument.
enum Sample {
  static let program: Verb = Verb(
    "shop", about: "Sells things.", discussion: "Shops of `goods` are described in shop(7).",
    examples: [Example("shop sell Tea", "Sell tea.")],
    groups: [
      VerbGroup("Trade", [sell, count, stock]),
      VerbGroup("Help", [.helpVerb, secret]),
    ])

  static let sell = Verb(
    "sell", about: "Sell goods, --fast if need be.",
    discussion: """
      Goods once sold are gone. See `shop count`, --file and goods(5).

        shop sell Tea    # as it stands

      Nothing comes back.
      """,
    options: [file, price, number, fast, interactive, tags, way, old], arguments: [goods],
    alternatives: [["fast", "interactive"]], examples: [Example("shop sell Tea --price 3", "Sell tea for three.")]
  ) { _ in }

  static let count = Verb("count", about: "Count goods.", arguments: [place]) { _ in }
  static let stock = Verb(
    "stock", about: "Look after the stock.",
    groups: [VerbGroup("", [Verb("list", about: "List it.") { _ in }, Verb("fill", about: "Fill it.") { _ in }])])
  static let secret = Verb("secret", about: "Known to few.", isHidden: true) { _ in }

  static let file: Option<String?> = .value(
    "file", short: "c", .text("FILE", completion: .files), "The price list. SHOP names another.")
  static let price: Option<Int64?> = .value("price", .integer("NUMBER"), "The price.")
  static let number: Option<Int> = .value("number", .integer("NUMBER", 1...64), default: 3, "How many.")
  static let fast: Option<Bool> = .flag("fast", short: "f", "Hurry.")
  static let interactive: Option<Bool> = .flag("interactive", short: "i", "Ask.")
  static let tags: Option<[String]> = .values("tag", .text("TAG", completion: .names([.shards])), "A tag.")
  static let way: Option<Way> = .value("way", .choice("WAY"), default: .counter, "Where it is sold.")
  static let old: Option<Bool> = .flag("older", "Refused.").hidden
  static let goods: Argument<[String]> = .any(.text("GOODS", completion: .names([.shards])), "What to sell.")
  static let place: Argument<Way> = .one(.choice("PLACE"), "Where.")

  enum Way: String, CaseIterable { case counter, post }

  /// Splits a line at blanks; `''` is an empty word.
  static func words(_ line: String) -> [String] { line.split(separator: " ").map { $0 == "''" ? "" : String($0) } }

  static func parsed(_ line: String) throws -> ParsedLine? {
    if case .run(let parsed) = try program.parse(words(line)) { return parsed }
    return nil
  }

  static func problems(_ line: String) -> [String] {
    do throws(UsageProblems) {
      _ = try program.parse(words(line))
      return []
    } catch {
      return error.problems.map { "\($0)" }
    }
  }
}
