import Commands
import Testing

@Suite struct `A completion` {
  private static func offer(_ line: String) -> Offer {
    Sample.program.complete(Sample.words(line)) { kind, line in
      let file = line[Sample.file] ?? "none"
      return kind == .shards ? [Offer.Candidate("Trip:\(file)", "shard"), Offer.Candidate("Day:\(file)")] : []
    }
  }

  @Test(arguments: [
    ("''", ["sell", "count", "stock", "help"]),
    ("s", ["sell", "count", "stock", "help"]),
    ("stock ''", ["list", "fill"]),
    ("help ''", ["sell", "count", "stock", "help"]),
    ("help stock ''", ["list", "fill"]),
    ("help sell ''", []),
    ("sell --way ''", ["counter", "post"]),
    ("sell --way=p", ["--way=counter", "--way=post"]),
    ("count ''", ["counter", "post"]),
    ("count post ''", ["--version", "--help"]),
    ("sell ''", ["Trip:none", "Day:none"]),
    ("sell --tag ''", ["Trip:none", "Day:none"]),
    ("sell --tag=T", ["--tag=Trip:none", "--tag=Day:none"]),
    ("sell -c a Trip:a ''", ["Day:a"]),
    ("sell --file=a --fast ''", ["Trip:a", "Day:a"]),
    ("sell -- --fast ''", ["Trip:none", "Day:none"]),
    ("sell -- -", ["Trip:none", "Day:none"]),
    ("sell --price ''", []),
    ("sell --bogus=x", []),
    ("nonsense ''", []),
    ("secret ''", ["--version", "--help"]),
  ]) func `offers the words that fit`(line: String, texts: [String]) {
    let offer = Self.offer(line)
    #expect(offer.candidates.map(\.text) == texts && !offer.takesFiles)
  }

  @Test func `offers options once, without excluded alternatives and hidden options`() {
    let long = [
      "--file", "--price", "--number", "--fast", "--interactive", "--tag", "--way", "--version", "--help",
    ]
    #expect(Self.offer("sell --").candidates.map(\.text) == long)
    #expect(Self.offer("sell -").candidates.map(\.text) == ["-c", "-f", "-i", "-h"] + long)
    let left = ["--price", "--number", "--tag", "--way", "--version", "--help"]
    #expect(Self.offer("sell -c x -f --tag a --").candidates.map(\.text) == left)
  }

  @Test(arguments: ["sell -c ''", "sell --file ''", "sell --file=x", "sell -fc x"])
  func `offers files`(line: String) {
    #expect(Self.offer(line).takesFiles && Self.offer(line).candidates.isEmpty)
  }

  @Test func `is one line per candidate, with its meaning`() {
    #expect(Self.offer("sell ''").lines == ["words", "Trip:none\tshard", "Day:none"])
    #expect(Self.offer("sell -c ''").lines == ["files"])
    #expect(Self.offer("''").lines[1] == "sell\tSell goods, --fast if need be")
    #expect(Self.offer("sell --f").lines[1] == "--file\tThe price list")
  }
}
