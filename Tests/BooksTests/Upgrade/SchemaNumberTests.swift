import Books
import Foundation
import TestSupport
import Testing

/// A function of ours belongs to a number: a database of that number has exactly this text, and no program of that number replaces it.
@Suite struct `The numbers of the schema` {
  private static let file = Program.package.appending(path: "Tests/BooksTests/Upgrade/schema-numbers.txt")

  /// Lines of number, what a database of it is given, and whether the number was released.
  @Test func `say the text of what they make`() throws {
    let schema = Schema.current
    let now = schema.fingerprint
    var lines = try String(contentsOf: Self.file, encoding: .utf8).split(separator: "\n").map {
      $0.split(separator: " ").map(String.init)
    }
    let recorded = try #require(lines.last)
    if recorded[0] == "\(schema.number)", recorded[1] != now, recorded[2] == "open",
      ProcessInfo.processInfo.environment["TIDEMARK_RECORD"] != nil
    {
      lines[lines.count - 1][1] = now
      try (lines.map { $0.joined(separator: " ") }.joined(separator: "\n") + "\n")
        .write(to: Self.file, atomically: true, encoding: .utf8)
      return
    }
    #expect(recorded[0] == "\(schema.number)", "schema-numbers.txt has a line for each number: add one, open")
    #expect(
      recorded[1] == now,
      """
      Tables or functions have changed, and databases of number \(schema.number) keep the ones they have. \
      \(recorded[2] == "open"
        ? "No release has this number yet: record the text with TIDEMARK_RECORD=1, and run `tidemark init` on databases of your own."
        : "A release has this number: leave it as it was, and add number \(schema.number + 1) to Schema.swift.")
      """)
  }

  @Test func `rise by one, and let no older program in than the one before`() {
    let numbers = Schema.current.numbers
    #expect(numbers.map(\.number) == Array(1...numbers.count))
    for (before, after) in zip(numbers, numbers.dropFirst()) {
      #expect(before.compatibleFrom <= after.compatibleFrom && after.compatibleFrom <= after.number)
    }
  }
}
