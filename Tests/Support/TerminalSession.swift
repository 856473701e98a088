import Foundation
import Glibc
package import Processes
import Synchronization
package import Testing

/// A program on a terminal of its own: a pseudo-terminal whose other side is the test. The program leads its session, so what is typed as
/// Ctrl-C or Ctrl-D reaches it the way it reaches whatever runs in front on a terminal.
package final class TerminalSession: Sendable {
  private let terminal: Int32
  private let child: Child
  private let output = Mutex<[UInt8]>([])

  // TIOCSPTLCK and TIOCGPTN, which Glibc's module leaves out.
  private static let (lock, number): (UInt, UInt) = (0x4004_5431, 0x8004_5430)

  private struct Failed: Error { var step: String }

  /// - Parameter words: the program's path and its arguments.
  package init(_ words: [String]) async throws {
    terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
    var (number, isLocked): (Int32, Int32) = (0, 0)
    guard terminal >= 0, ioctl(terminal, Self.lock, &isLocked) == 0, ioctl(terminal, Self.number, &number) == 0 else {
      throw Failed(step: "a pseudo-terminal")
    }
    _ = fcntl(terminal, F_SETFL, O_NONBLOCK)

    var launch = Launch(words[0], Array(words.dropFirst()))
    launch.terminal = "/dev/pts/\(number)"
    child = try await launch.start()
  }

  deinit { close(terminal) }

  /// All that the program has written, and the echo of what was typed.
  package var said: String {
    output.withLock { bytes in
      var buffer = [UInt8](repeating: 0, count: 4096)
      while true {
        // An error: nothing more for now, or nobody has the other side open any more.
        let count = read(terminal, &buffer, buffer.count)
        guard count > 0 else { break }
        bytes += buffer[..<count]
      }
      return String(decoding: bytes, as: UTF8.self)
    }
  }

  /// To the program alone, as `kill` would.
  package func send(_ signal: Int32) { child.send(signal) }

  package func type(_ text: String) {
    let bytes = Array(text.utf8)
    #expect(write(terminal, bytes, bytes.count) == bytes.count)
  }

  /// Waits for words, and forgets them and what came before them.
  package func says(_ words: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
    var rest: Substring?
    do {
      try await eventually("the words \"\(words)\"", sourceLocation: sourceLocation) {
        let said = said
        rest = said.range(of: words).map { said[$0.upperBound...] }
        return rest != nil
      }
    } catch {
      Issue.record("it said: \(said)", sourceLocation: sourceLocation)
      throw error
    }
    output.withLock { $0 = Array(rest!.utf8) }
  }

  /// How it ended; ends it where it does not end by itself.
  package func end() async throws -> Termination {
    do {
      try await eventually("the end of the program on a terminal") {
        _ = said
        return child.hasEnded
      }
    } catch {
      await child.kill()
      throw error
    }
    return await child.waitForEnd()
  }
}
