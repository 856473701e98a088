import Commands
import Testing

@Suite struct `Help` {
  private static let all = [
    [Sample.program], [Sample.program, Sample.sell], [Sample.program, Sample.count], [Sample.program, Sample.stock],
  ]

  @Test(arguments: [20, 40, 56, 80, 120, 500]) func `has no line wider than the terminal or 120 columns`(width: Int) {
    for path in Self.all {
      for line in HelpPage(path, width: width).text.split(separator: "\n") where line.count > min(width, 120) {
        // Only a single longer word may be wider; it is then on its own line.
        let words = line.split(separator: " ")
        #expect(words.count == 1 || line.contains("["), "\(width): \(line)")
        #expect(width < 40, "\(width): \(line)")
      }
    }
  }

  @Test func `shows the description, and no more`() {
    #expect(
      HelpPage([Sample.program, Sample.sell], width: 80).text == """
        USAGE: shop sell [-c FILE] [--price NUMBER] [--number NUMBER] [-f | -i]
                         [--tag TAG ...] [--way WAY] [GOODS ...]

        Sell goods, --fast if need be.

        Goods once sold are gone. See `shop count`, --file and goods(5).

          shop sell Tea    # as it stands

        Nothing comes back.

        ARGUMENTS:
          GOODS  What to sell.

        OPTIONS:
          -c, --file FILE    The price list. SHOP names another.
          --price NUMBER     The price.
          --number NUMBER    How many. Default: 3.
          -f, --fast         Hurry.
          -i, --interactive  Ask.
          --tag TAG          A tag. May be repeated.
          --way WAY          Where it is sold. One of counter or post. Default: counter.
          --version          Show the version.
          -h, --help         Show this help.

        EXAMPLES:
          shop sell Tea --price 3
              Sell tea for three.
        """)
  }

  @Test func `of the program shows its verbs in groups, without the hidden ones`() {
    #expect(
      HelpPage([Sample.program], width: 60).text == """
        USAGE: shop VERB ...

        Sells things.

        Shops of `goods` are described in shop(7).

        OPTIONS:
          --version   Show the version.
          -h, --help  Show this help.

        SUBCOMMANDS:

        Trade
          sell   Sell goods, --fast if need be.
          count  Count goods.
          stock  Look after the stock.

        Help
          help  Show help for the program, or for a verb.

        See 'shop help VERB' for the full description of a verb.

        EXAMPLES:
          shop sell Tea
              Sell tea.
        """)
  }

  @Test func `on a narrow terminal prints meanings under their names`() {
    let text = HelpPage([Sample.program, Sample.count], width: 30).text
    #expect(text.contains("  PLACE\n      Where. One of counter or\n      post.\n"), "\(text)")
  }
}
