package import Testing

/// Lets a few tests run at once: each has daemons, sessions and writers of its own, and all together would only wait for each other
/// until their deadlines are over.
package struct Gate: SuiteTrait, TestTrait, TestScoping {
  package let isRecursive = true

  package func scopeProvider(for test: Test, testCase: Test.Case?) -> Gate? { testCase == nil ? nil : self }

  package func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    await Places.shared.take()
    do {
      try await function()
      await Places.shared.giveBack()
    } catch {
      await Places.shared.giveBack()
      throw error
    }
  }

  private actor Places {
    static let shared = Places()
    private var free = 4
    private var waiting: [CheckedContinuation<Void, Never>] = []

    func take() async {
      if free > 0 { free -= 1 } else { await withCheckedContinuation { waiting.append($0) } }
    }

    func giveBack() {
      if waiting.isEmpty { free += 1 } else { waiting.removeFirst().resume() }
    }
  }
}

extension Trait where Self == Gate {
  package static var gated: Gate { Gate() }
}
