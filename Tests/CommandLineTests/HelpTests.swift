import Foundation
import Processes
import TestSupport
import Testing

/// What `tidemark help` prints is kept whole beside the tests, so that a change of a description shows what it does to the page.
@Suite(.gated) struct `The help` {
  private static let folder = Program.package.appending(path: "Tests/CommandLineTests/Golden")

  private static func verbs(_ path: [String] = []) async throws -> [[String]] {
    let offer = try await Program.run(["complete", "--", "help"] + path + [""]).output
    var verbs: [[String]] = []
    for line in offer.split(separator: "\n").dropFirst() {
      let verb = path + [String(line.prefix { $0 != "\t" })]
      verbs.append(verb)
      verbs += try await Self.verbs(verb)
    }
    return verbs
  }

  @Test func `of the program and of every verb is what it was`() async throws {
    let verbs = try await Self.verbs()
    #expect(verbs.count >= 20 && verbs.contains(["dead-letters", "replay"]) && !verbs.contains(["manual"]))
    var expected: Set<String> = []
    for verb in [[]] + verbs {
      let name = (["help"] + verb).joined(separator: "-") + ".txt"
      expected.insert(name)
      let help = try await Program.run(["help"] + verb, environment: ["COLUMNS": "80"])
      try record(help.output, as: Self.folder.appending(path: name))
      let kept = FileManager.default.contents(atPath: Self.folder.appending(path: name).path) ?? Data()
      #expect(
        help.code == 0 && help.output == String(decoding: kept, as: UTF8.self),
        "TIDEMARK_RECORD=1 keeps it in Tests/CommandLineTests/Golden/\(name)")
      #expect(try await Program.run(verb + ["--help"], environment: ["COLUMNS": "80"]).output == help.output)
    }
    #expect(Set(try FileManager.default.contentsOfDirectory(atPath: Self.folder.path)) == expected)
  }

  @Test(arguments: [40, 80, 120, 300]) func `fits the width`(width: Int) async throws {
    for verb in [[]] + (try await Self.verbs()) {
      let help = try await Program.run(["help"] + verb, environment: ["COLUMNS": "\(width)"]).output
      for line in help.split(separator: "\n") where line.count > min(width, 120) {
        #expect(line.split(separator: " ").count == 1, "\(verb) at \(width): \(line)")
      }
    }
  }

  @Test func `takes the width of the terminal`() async throws {
    let terminal = try await TerminalSession(["/bin/sh", "-c", "stty cols 50; exec \(Program.path) help wait"])
    try await terminal.says("USAGE: tidemark wait [-c FILE] [--database NAME]\r\n")
    #expect(try await terminal.end() == .exited(0))
  }
}
