import Commands
import Testing

@Suite struct `A command line` {
  @Test func `gives each option its value or its default`() throws {
    let line = try #require(try Sample.parsed("sell Tea --price 12 -c list -f --tag a --tag=b --way post Milk"))
    #expect(line[Sample.goods] == ["Tea", "Milk"])
    #expect(line[Sample.price] == 12 && line[Sample.number] == 3)
    #expect(line[Sample.file] == "list" && line[Sample.fast] && !line[Sample.interactive])
    #expect(line[Sample.tags] == ["a", "b"] && line[Sample.way] == .post)
    let bare = try #require(try Sample.parsed("sell"))
    #expect(bare[Sample.goods].isEmpty && bare[Sample.price] == nil && bare[Sample.tags].isEmpty)
    #expect(bare[Sample.way] == .counter && bare[Sample.file] == nil && !bare[Sample.fast])
    #expect(try Sample.parsed("count post")?[Sample.place] == .post)
  }

  @Test(arguments: [
    "sell --file x", "sell --file=x", "sell -c x", "sell -c=x", "sell -fc x", "sell -cf x", "sell -c y -c x",
    "sell Tea -c x", "sell -c x -- Tea", "sell -c x --",
  ]) func `may write an option in several ways, of which the last counts`(line: String) throws {
    #expect(try Sample.parsed(line)?[Sample.file] == "x")
  }

  @Test func `has only arguments after two dashes`() throws {
    #expect(try Sample.parsed("sell -- --file -c -5 -- Tea")?[Sample.goods] == ["--file", "-c", "-5", "--", "Tea"])
    #expect(try Sample.parsed("sell - ''")?[Sample.goods] == ["-", ""])
    #expect(try Sample.parsed("sell -- --help") != nil)
  }

  @Test func `takes a value that begins with a dash only after an equals sign`() throws {
    #expect(try Sample.parsed("sell --price=-5")?[Sample.price] == -5)
    #expect(try Sample.parsed("sell --file=-")?[Sample.file] == "-")
    #expect(try Sample.parsed("sell --file -")?[Sample.file] == "-")
    #expect(try Sample.parsed("sell --file=a=b")?[Sample.file] == "a=b")
    #expect(try Sample.parsed("sell -c ''")?[Sample.file] == "")
    #expect(
      Sample.problems("sell --price -5") == [
        "--price: expected NUMBER, found \"-5\"; write a value that begins with a dash as --price=-5"
      ])
  }

  @Test(arguments: [
    ("sel", ["unknown verb \"sel\"; did you mean \"sell\"?"]),
    ("SELL --what", ["unknown verb \"SELL\"; did you mean \"sell\"?"]),
    ("xyz", ["unknown verb \"xyz\""]),
    ("secre", ["unknown verb \"secre\""]),
    ("fill", ["unknown verb \"fill\"; did you mean \"stock fill\"?"]),
    ("stock lits", ["unknown verb of stock \"lits\"; did you mean \"list\"?"]),
    ("-c x sell", ["expected a verb, found \"-c\"; options come after the verb"]),
    ("--versoin", ["unknown option \"--versoin\"; did you mean \"--version\"?"]),
    ("sell --prise 3", ["unknown option \"--prise\"; did you mean \"--price\"?"]),
    ("sell -fast", ["unknown option \"-fast\"; did you mean \"--fast\"?"]),
    ("sell --oldre", ["unknown option \"--oldre\""]),
    ("sell -fx", ["unknown option \"-x\""]),
    ("sell -5", ["unknown option \"-5\""]),
    ("sell ---c", ["unknown option \"---c\""]),
    ("sell --=x", ["unknown option \"--\""]),
    ("sell -cx.toml", ["-c takes its FILE as a separate word: -c x.toml"]),
    ("sell --price", ["--price: expected NUMBER"]),
    ("sell --price=", ["--price: expected NUMBER"]),
    ("sell -c --fast", ["-c: expected FILE"]),
    ("sell -c -- x", ["-c: expected FILE"]),
    ("sell --price x", ["--price: expected a whole number, found \"x\""]),
    ("sell --price 99999999999999999999", ["--price: expected a whole number, found \"99999999999999999999\""]),
    ("sell --number 65", ["--number: expected a whole number from 1 to 64, found \"65\""]),
    ("sell --way Post", ["--way: expected counter or post, found \"Post\""]),
    ("sell --fast=yes", ["--fast takes no value, found \"yes\""]),
    ("count", ["expected PLACE"]),
    ("count sea", ["PLACE: expected counter or post, found \"sea\""]),
    ("count post a b", ["unexpected argument \"a\"", "unexpected argument \"b\""]),
    ("-- sell", ["unexpected argument \"sell\""]),
    ("help nothing", ["unknown verb \"nothing\""]),
    ("help sell Tea", ["unexpected argument \"Tea\""]),
  ]) func `that is wrong is answered with the expected form`(line: String, problems: [String]) {
    #expect(Sample.problems(line) == problems)
  }

  @Test func `gets all its problems reported at once`() {
    #expect(
      Sample.problems("sell --prise 3 --number 0 --way nowhere -x --fast=1 --price") == [
        "unknown option \"--prise\"; did you mean \"--price\"?",
        "--number: expected a whole number from 1 to 64, found \"0\"",
        "--way: expected counter or post, found \"nowhere\"",
        "unknown option \"-x\"",
        "--fast takes no value, found \"1\"",
        "--price: expected NUMBER",
      ])
    #expect(
      Sample.problems("count --bogus sea land") == [
        "unknown option \"--bogus\"", "PLACE: expected counter or post, found \"sea\"", "unexpected argument \"land\"",
      ])
  }

  @Test(arguments: [
    ("sell --bogus", ["shop: unknown option \"--bogus\"", "See 'shop help sell'."]),
    ("stock lits", ["shop: unknown verb of stock \"lits\"; did you mean \"list\"?", "See 'shop help stock'."]),
    ("stock list x", ["shop: unexpected argument \"x\"", "See 'shop help stock list'."]),
    ("sel", ["shop: unknown verb \"sel\"; did you mean \"sell\"?", "See 'shop help'."]),
  ]) func `that is wrong is pointed to the help`(line: String, lines: [String]) {
    let error = #expect(throws: UsageProblems.self) { try Sample.program.parse(Sample.words(line)) }
    #expect(error?.lines == lines)
  }

  @Test(arguments: [
    ("", ["shop"]), ("--help", ["shop"]), ("-h", ["shop"]), ("help", ["shop"]), ("stock", ["shop", "stock"]),
    ("help sell", ["shop", "sell"]), ("sell --help", ["shop", "sell"]), ("--help sell", ["shop", "sell"]),
    ("sell -fh", ["shop", "sell"]), ("sell --bogus --price --help", ["shop", "sell"]),
    ("sell --version --help", ["shop", "sell"]), ("help stock list", ["shop", "stock", "list"]),
    ("stock list -h", ["shop", "stock", "list"]), ("nonsense --help", ["shop"]), ("help secret", ["shop", "secret"]),
    ("help help", ["shop", "help"]), ("--", ["shop"]),
  ]) func `gets help wherever it requests it`(line: String, path: [String]) throws {
    guard case .help(let verbs) = try Sample.program.parse(Sample.words(line)) else {
      Issue.record("no help")
      return
    }
    #expect(verbs.map(\.name) == path)
  }

  @Test(arguments: ["--version", "sell --version", "--version sell", "sell --bogus --version"])
  func `gets the version wherever it requests it`(line: String) throws {
    guard case .version = try Sample.program.parse(Sample.words(line)) else {
      Issue.record("no version")
      return
    }
  }
}
