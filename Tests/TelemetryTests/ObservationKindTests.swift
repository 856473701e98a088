import Telemetry
import Testing

@Suite struct `The catalogue of observations` {
  @Test func `gives each kind an id of its own, as the journal wants them`() {
    let ids = ObservationKind.allCases.map(\.entry.id)
    #expect(Set(ids).count == ids.count)
    for id in ids {
      #expect(id.wholeMatch(of: /[0-9a-f]{32}/) != nil, "\(id)")
    }
  }

  @Test(arguments: ObservationKind.allCases)
  func `says what each means and what to do`(kind: ObservationKind) {
    let entry = kind.entry
    #expect(entry.meaning.hasSuffix(".") && entry.action.hasSuffix("."))
    #expect(!entry.message.hasSuffix("."))
    // Whoever is woken by it must find more to do than "Nothing."
    if entry.level >= .warning { #expect(entry.action != "Nothing.") }
  }

  /// Scripts and alerts are written against these: an id never changes, whatever becomes of the words.
  @Test func `keeps the ids that alerts are written against`() {
    #expect(ObservationKind.shardPaused.entry.id == "481ee743d9724454b0c9d1256821bff4")
    #expect(ObservationKind.markHeld.entry.id == "ca1ad7d5596c4aef93e441b7ea3aa907")
    #expect(ObservationKind.lateArrival.entry.id == "f6caa95ba7d3435ea035f9942de6782e")
    #expect(ObservationKind.reloadRefused.entry.id == "a671cc66f6bc46fc8e0de5be067bc7f3")
  }
}
