import Foundation
import Glibc
import Synchronization
import Testing

/// A program on a terminal of its own: a pseudo-terminal whose other side is the test. The program leads its session, so what is typed as
/// Ctrl-C or Ctrl-D reaches it the way it reaches whatever runs in front on a terminal.
final class TerminalSession: Sendable {
  private let terminal: Int32
  private let pid: pid_t
  private let output = Mutex<[UInt8]>([])

  // TIOCSPTLCK, TIOCGPTN and POSIX_SPAWN_SETSID, which Glibc's module leaves out.
  private static let (lock, number, newSession): (UInt, UInt, Int32) = (0x4004_5431, 0x8004_5430, 0x80)

  private struct Failed: Error { var step: String }

  /// - Parameter words: the program's path and its arguments.
  init(_ words: [String]) throws {
    terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
    var (number, isLocked): (Int32, Int32) = (0, 0)
    guard terminal >= 0, ioctl(terminal, Self.lock, &isLocked) == 0, ioctl(terminal, Self.number, &number) == 0 else {
      throw Failed(step: "a pseudo-terminal")
    }
    _ = fcntl(terminal, F_SETFL, O_NONBLOCK)

    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    posix_spawnattr_setflags(&attributes, Int16(Self.newSession | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
    var signals = sigset_t()
    sigfillset(&signals)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    // The first terminal that a new session opens becomes its own.
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/pts/\(number)", O_RDWR, 0)
    posix_spawn_file_actions_adddup2(&actions, 0, 1)
    posix_spawn_file_actions_adddup2(&actions, 0, 2)
    defer {
      posix_spawnattr_destroy(&attributes)
      posix_spawn_file_actions_destroy(&actions)
    }
    let arguments = words.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var child: pid_t = 0
    guard posix_spawn(&child, words[0], &actions, &attributes, arguments, environ) == 0 else {
      throw Failed(step: "spawn")
    }
    pid = child
  }

  deinit { close(terminal) }

  /// All that the program has written, and the echo of what was typed.
  var said: String {
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

  func type(_ text: String) {
    let bytes = Array(text.utf8)
    #expect(write(terminal, bytes, bytes.count) == bytes.count)
  }

  /// Waits for words, and forgets them and what came before them.
  func says(_ words: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
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

  enum End: Hashable { case exited(Int32), signalled(Int32) }

  /// How it ended; ends it where it does not end by itself.
  func end() async throws -> End {
    var status: Int32 = 0
    do {
      try await eventually("the end of the program on a terminal") {
        _ = said
        return waitpid(pid, &status, WNOHANG) == pid
      }
    } catch {
      kill(pid, SIGKILL)
      waitpid(pid, &status, 0)
      throw error
    }
    return status & 0x7f == 0 ? .exited((status >> 8) & 0xff) : .signalled(status & 0x7f)
  }
}
