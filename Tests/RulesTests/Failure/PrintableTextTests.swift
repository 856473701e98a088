import Rules
import Testing

@Suite struct `Text for a terminal` {
  @Test(
    arguments: [
      ("plain \u{E9} \u{4E2D} \u{1F600}", "plain \u{E9} \u{4E2D} \u{1F600}"), ("", ""),
      ("\u{1B}]0;owned\u{7}\u{1B}[2J", #"\u{1b}]0;owned\u{7}\u{1b}[2J"#), ("a\nb\r\nc", #"a\nb\u{d}\nc"#),
      ("a\tb", #"a\u{9}b"#),
      // The 8-bit forms of ESC [ and of the operating system command.
      ("\u{9B}31mred\u{9D}", #"\u{9b}31mred\u{9d}"#), ("\u{7F}", #"\u{7f}"#),
      ("abc\u{202E}def\u{2066}\u{200F}", #"abc\u{202e}def\u{2066}\u{200f}"#),
      ("a\u{2028}b\u{2029}", #"a\u{2028}b\u{2029}"#),
    ])
  func `has an escape in place of each character that acts on it`(text: String, expected: String) {
    #expect(printable(text) == expected)
    #expect(printable(printable(text)) == expected)
  }

  @Test func `keeps the lines and columns of our own`() {
    #expect(printableLines("a\tb\n\nc\u{1B}[2J\n") == "a\tb\n\nc\\u{1b}[2J\n")
  }
}
