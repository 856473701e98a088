import Glibc

/// What a child said, and how it ended.
package struct ChildOutcome: Sendable {
  package var termination: Termination
  /// Empty where its output was no pipe.
  package var output: String
  /// Empty where its errors were no pipe.
  package var error: String

  /// A child said more than its caller wants to keep.
  package struct TooMuch: Error, Hashable, Sendable, CustomStringConvertible {
    package var limitBytes: Int
    package init(limitBytes: Int) { self.limitBytes = limitBytes }
    package var description: String { "it has written more than \(limitBytes) bytes" }
  }
}

extension Launch {
  /// Starts it, and waits for its end and all that it says.
  ///
  /// - Parameter limit: bytes of its output, and as many of its errors.
  /// - Throws: ``StartProblem``, and what ``Child/collect(limit:)`` throws.
  package func run(limit: Int = 4 << 20) async throws -> ChildOutcome { try await start().collect(limit: limit) }
}

extension Child {
  /// How long its words are waited for when it has ended and a child of its own, which has left the group, still keeps the pipe open.
  private static let lastWords = Duration.seconds(1)

  /// Waits for its end and all that it says. When it ends, what is left of its group is killed; when this task is cancelled, or the child
  /// says too much, that is at once.
  ///
  /// - Parameter limit: bytes of its output, and as many of its errors.
  /// - Throws: ``ChildOutcome/TooMuch``; ``PipeProblem``; `CancellationError`.
  package func collect(limit: Int) async throws -> ChildOutcome {
    let (output, error) = (output, error)
    do {
      let texts = try await withThrowingTaskGroup(of: (Int, String).self) { group in
        group.addTask { (1, try await output?.text(limit: limit) ?? "") }
        group.addTask { (2, try await error?.text(limit: limit) ?? "") }
        group.addTask {
          try await self.end()
          self.sendToGroup(SIGKILL)
          try await Task.sleep(for: Self.lastWords)
          output?.close()
          error?.close()
          return (0, "")
        }
        var texts = ["", "", ""]
        var streams = 2
        while streams > 0, let (number, text) = try await group.next() {
          texts[number] = text
          if number > 0 { streams -= 1 }
        }
        // It may have closed its streams long before its end.
        try await self.end()
        group.cancelAll()
        return texts
      }
      return ChildOutcome(termination: await kill(), output: texts[1], error: texts[2])
    } catch {
      await tearDown()
      throw error
    }
  }
}

extension PipeReader {
  /// All that is written until the end, or until this end is closed.
  fileprivate func text(limit: Int) async throws -> String {
    var bytes: [UInt8] = []
    do {
      while case let chunk = try await read(), !chunk.isEmpty {
        bytes += chunk
        if bytes.count > limit { throw ChildOutcome.TooMuch(limitBytes: limit) }
      }
    } catch PipeProblem.closed {}
    return String(decoding: bytes, as: UTF8.self)
  }
}
