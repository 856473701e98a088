import Foundation
import Rules
import Testing

@testable import Telemetry

@Suite struct `The catalogue of facts` {
  @Test func `gives each an id of its own, as the journal wants them`() {
    let ids = Fact.all.map(\.id)
    #expect(Set(ids).count == ids.count)
    for id in ids {
      #expect(id.wholeMatch(of: /[0-9a-f]{32}/) != nil, "\(id)")
    }
  }

  @Test(arguments: Fact.all)
  func `says what each means and what to do`(fact: Fact) {
    #expect(fact.meaning.hasSuffix(".") && fact.action.hasSuffix("."))
    #expect(!fact.message.hasSuffix("."))
    // An operator who is woken by it must find more to do than "Nothing."
    if fact.level >= .warning { #expect(fact.action != "Nothing.") }
  }

  /// Scripts and alerts are written against these: an id never changes, whatever becomes of the words.
  @Test func `keeps the ids that alerts are written against`() {
    #expect(Fact.shardPaused.id == "481ee743d9724454b0c9d1256821bff4")
    #expect(Fact.markHeld.id == "ca1ad7d5596c4aef93e441b7ea3aa907")
    #expect(Fact.lateArrival.id == "f6caa95ba7d3435ea035f9942de6782e")
    #expect(Fact.reloadRefused.id == "a671cc66f6bc46fc8e0de5be067bc7f3")
  }

  /// The compiler does not miss a fact that is declared and not listed; the manual would.
  @Test func `has every fact that is declared, and an observation of each`() throws {
    let sources = URL(filePath: #filePath).deletingLastPathComponent()
      .appending(path: "../../Sources/Telemetry/Observation").standardizedFileURL
    var facts: [String] = []
    var observations: [String] = []
    for file in try FileManager.default.contentsOfDirectory(at: sources, includingPropertiesForKeys: nil)
    where file.lastPathComponent.hasSuffix("Facts.swift") {
      let text = try String(contentsOf: file, encoding: .utf8)
      facts += text.matches(of: /static let (\w+) = Fact\(/).map { String($0.output.1) }
      observations += text.matches(of: /static (?:var|func) (\w+)/).map { String($0.output.1) }
    }
    #expect(facts.sorted() == observations.sorted())
    #expect(facts.count == Fact.all.count)
    #expect(Set(Sample.observations.map(\.fact)) == Set(Fact.all))
  }
}
