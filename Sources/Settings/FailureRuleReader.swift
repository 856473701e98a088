import Rules

/// Reads the `[[on_error]]` rules.
extension SettingsReader {
  mutating func readRules(_ entries: [TOMLEntry], file: String) {
    guard let rules = entries.first(where: { $0.key == "on_error" }) else { return }
    guard case .array(let values) = rules.value.content else {
      add(
        .value, location(rules.value.place, file), "on_error",
        "expected tables [[on_error]], found \(found(rules.value))")
      return
    }
    for value in values {
      guard let entries = table(value, "on_error", file, expected: "a table [[on_error]]") else { continue }
      var draft = FailureRuleDraft()
      let before = problems.count
      read(
        entries, keys: FailureRuleDraft.keys, prefix: "", display: "on_error.",
        home: Settings.home(ofRule: settings.failureRuleDrafts.count), file: file, into: &draft)
      if problems.count == before, draft.actions.isEmpty {
        add(.missingKey, location(value.place, file), "on_error", "expected `do`, found nothing")
      }
      for conflict in draft.conflicts { add(.conflict, location(value.place, file), "on_error", conflict) }
      settings.failureRuleDrafts.append(draft)
    }
  }

  /// Rules may only name projections that exist.
  mutating func checkRules(_ entries: [TOMLEntry], file: String) {
    guard case .array(let values)? = entries.first(where: { $0.key == "on_error" })?.value.content else { return }
    let names = settings.declarations.map(\.name)
    for (value, draft) in zip(values, settings.failureRuleDrafts) {
      for name in draft.projections where !names.contains(name) {
        let place = value.entries.first { $0.key == "projection" }?.value.place ?? value.place
        add(
          .conflict, location(place, file), "on_error.projection",
          "expected a declared projection, found \(TOMLText.string(name))",
          hint: nearestName(to: name, in: names).map { "did you mean \"\($0)\"?" })
      }
    }
  }
}
