import Glibc

/// The output of a child, and how it exited.
package struct ChildOutcome: Sendable {
  package var termination: Termination
  /// Empty if its standard output was not a pipe.
  package var output: String
  /// Empty if its standard error was not a pipe.
  package var error: String

  /// A child wrote more than the caller's limit.
  package struct TooMuch: Error, Hashable, Sendable, CustomStringConvertible {
    package var limitBytes: Int
    package init(limitBytes: Int) { self.limitBytes = limitBytes }
    package var description: String { "it wrote more than \(limitBytes) bytes" }
  }
}

extension Launch {
  /// Starts the child, and waits for its exit and all its output.
  ///
  /// - Parameter limit: the most bytes of standard output, and as many of standard error.
  /// - Throws: ``StartProblem``, and the errors of ``Child/collect(limit:)``.
  package func run(limit: Int = 4 << 20) async throws -> ChildOutcome { try await start().collect(limit: limit) }
}

extension Child {
  /// How long to wait for output after the child has exited, while a descendant that has left the group still keeps the
  /// pipe open.
  private static let lastWords = Duration.seconds(1)

  /// Waits for the child's exit and all its output. When it exits, the rest of its group is killed; when this task is
  /// cancelled, or the child writes too much, the child and its group are killed at once.
  ///
  /// - Parameter limit: the most bytes of standard output, and as many of standard error.
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
        // It may have closed its streams long before it exits.
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
  /// Everything written until the end of the stream, or until our end is closed.
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
