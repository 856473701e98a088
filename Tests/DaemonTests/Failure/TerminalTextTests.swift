import TestSupport
import Testing

/// Applications write events and positions, and plugins write lines: none of it may act on the terminal of an operator.
@Suite(.gated) struct `Text of events and positions` {
  @Test func `acts on no terminal, and forges no line, in what verbs print`() async throws {
    let database = try await TestDatabase.make()
    let settings = try await database.install(Numbers.batch)
    let config = try Program.settings(database.conninfo, Numbers.batch)
    try await database.script(
      #"""
      SELECT tidemark.append(md5('s')::uuid, jsonb_build_array(jsonb_build_object('type', 'n', 'data',
        jsonb_build_object('n', E'\x1b]0;owned\x07\x1b[2J\u009b31m\u202e\nforged line'))));
      INSERT INTO mt_event_progression VALUES (E'Evil\x1b[31m\u009b:All', 3), (E'Evil\nforged line:All', 3);
      """#)
    try await withDaemon(settings) { daemon in
      try await daemon.caughtUp()
      for verb in [
        ["status"], ["status", "--json"], ["list"], ["list", "--json"], ["dead-letters", "list"],
        ["dead-letters", "show"],
        ["dead-letters", "show", "--json"], ["dead-letters", "replay", "--yes"], ["rebuild", "Sum"],
        ["rebuild", "Sum", "--json"], ["forget", "No\u{9B}31m\nforged line"], ["pause", "No\u{1B}[2J"],
      ] {
        let outcome = try await Program.run(verb + ["-c", config])
        for text in [outcome.output, outcome.error] {
          #expect(
            text.unicodeScalars.allSatisfy {
              $0 == "\n" || ($0.value >= 0x20 && !(0x7F..<0xA0).contains($0.value)) && $0 != "\u{202E}"
            },
            "\(verb): \(text)")
          #expect(!text.split(separator: "\n").contains { $0.hasPrefix("forged line") }, "\(verb): \(text)")
        }
      }
    }
  }
}
