import CLinux
import Glibc

extension Launch {
  /// Starts the child. None of our code runs in the child before the program does: posix_spawn(3) does everything, and
  /// takes no lock that another of our threads could hold.
  ///
  /// A program that was just written may still be open for writing in a child that another thread is starting at this
  /// moment (ETXTBSY). That passes quickly, so the start is retried for a quarter of a second.
  ///
  /// - Throws: ``StartProblem``; `CancellationError` when the task is cancelled between two tries.
  package func start() async throws -> Child {
    var pause = Duration.milliseconds(1)
    while true {
      do {
        return try await startOnce()
      } catch {
        guard error.code == ETXTBSY, pause < .milliseconds(200) else { throw error }
      }
      try await Task.sleep(for: pause)
      pause *= 2
    }
  }

  private func startOnce() async throws(StartProblem) -> Child {
    guard let path else {
      throw StartProblem(program: program, reason: "no directory in PATH has a program of this name", code: ENOENT)
    }
    do throws(Refusal) {
      let (pid, ends) = try spawn(path)
      let process = tidemark_pidfd(pid)
      guard process >= 0 else {
        let code = errno
        Glibc.kill(-pid, SIGKILL)
        while waitpid(pid, nil, WNOHANG) == 0 { await Task.yield() }
        throw Refusal(code: code)
      }
      return Child(
        pid: pid, process: process, outlivesUs: outlivesUs, input: ends[0].map(PipeWriter.init),
        output: ends[1].map(PipeReader.init),
        error: ends[2].map(PipeReader.init))
    } catch {
      throw StartProblem(error.code, starting: path, of: self)
    }
  }

  /// The error of a system call.
  private struct Refusal: Error {
    var code: Int32
    /// - Parameter result: the result of a call that sets errno.
    static func check(_ result: Int32) throws(Refusal) -> Int32 {
      if result < 0 { throw Refusal(code: errno) }
      return result
    }
  }

  /// Returns the child's pid, and our ends of its three streams; nil for a stream that is not a pipe.
  private func spawn(_ path: String) throws(Refusal) -> (Int32, [PipeEnd?]) {
    let variables = variables.map { "\($0.key)=\($0.value)" }
    let words = CStrings([program] + arguments)
    let environment = CStrings(variables)
    guard let words, let environment else { throw Refusal(code: EINVAL) }
    var (actions, attributes) = (posix_spawn_file_actions_t(), posix_spawnattr_t())
    posix_spawn_file_actions_init(&actions)
    posix_spawnattr_init(&attributes)
    // The child's ends; we close them once it has its own copies.
    var handed: [Int32] = []
    defer {
      posix_spawn_file_actions_destroy(&actions)
      posix_spawnattr_destroy(&attributes)
      for descriptor in handed { close(descriptor) }
    }
    var ends: [PipeEnd?] = [nil, nil, nil]
    if let terminal {
      // The first terminal that a new session opens becomes its own.
      posix_spawn_file_actions_addopen(&actions, 0, terminal, O_RDWR, 0)
      for stream: Int32 in 1...2 { posix_spawn_file_actions_adddup2(&actions, 0, stream) }
    } else {
      for (number, stream) in [input, output, error].enumerated() {
        switch stream {
        case .nothing:
          posix_spawn_file_actions_addopen(&actions, Int32(number), "/dev/null", O_RDWR, 0)
          continue
        case .descriptor(let descriptor): handed.append(try Self.raised(descriptor))
        case .pipe:
          let pipe = try Self.pipe(isInput: number == 0)
          ends[number] = pipe.ours
          defer { close(pipe.its) }
          handed.append(try Self.raised(pipe.its))
        }
        posix_spawn_file_actions_adddup2(&actions, handed.last!, Int32(number))
      }
    }
    if let directory { _ = tidemark_spawn_in_directory(&actions, directory) }
    _ = tidemark_spawn_closing_from(&actions, 3)
    Self.setAttributes(&attributes, isSession: terminal != nil)
    var pid = pid_t()
    let code = words.lend { words in
      environment.lend { posix_spawn(&pid, path, &actions, &attributes, words, $0) }
    }
    guard code == 0 else { throw Refusal(code: code) }
    return (pid, ends)
  }

  private static func setAttributes(_ attributes: inout posix_spawnattr_t, isSession: Bool) {
    let group = isSession ? tidemark_spawn_in_session : Int16(POSIX_SPAWN_SETPGROUP)
    posix_spawnattr_setflags(&attributes, group | Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    sigfillset(&signals)
    posix_spawnattr_setsigdefault(&attributes, &signals)
  }

  /// A pipe whose end on our side does not block; no other child inherits either end.
  private static func pipe(isInput: Bool) throws(Refusal) -> (ours: PipeEnd, its: Int32) {
    var ends: [Int32] = [0, 0]
    _ = try Refusal.check(tidemark_pipe(&ends, O_CLOEXEC))
    let (ours, its) = isInput ? (ends[1], ends[0]) : (ends[0], ends[1])
    _ = fcntl(ours, F_SETFL, O_NONBLOCK)
    return (PipeEnd(ours), its)
  }

  /// A copy with a number above 2, so that setting up one stream does not overwrite another.
  private static func raised(_ descriptor: Int32) throws(Refusal) -> Int32 {
    try Refusal.check(fcntl(descriptor, F_DUPFD_CLOEXEC, 3))
  }
}

/// Texts in C's form: an array of pointers that ends with nil.
private final class CStrings {
  private let pointers: [UnsafeMutablePointer<CChar>?]

  /// Nil if a text contains a NUL byte, which would end it early.
  init?(_ texts: [String]) {
    guard !texts.contains(where: { $0.utf8.contains(0) }) else { return nil }
    pointers = texts.map { strdup($0) } + [nil]
  }

  deinit { for pointer in pointers { free(pointer) } }

  func lend<T>(_ body: ([UnsafeMutablePointer<CChar>?]) -> T) -> T { withExtendedLifetime(self) { body(pointers) } }
}
