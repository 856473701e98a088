import Glibc

/// Why a child could not be started.
package struct StartProblem: Error, Hashable, Sendable, CustomStringConvertible {
  package var program: String
  /// The words after "cannot be run:".
  package var reason: String
  /// The system's errno(3).
  package var code: Int32

  package var description: String { "\(program) cannot be run: \(reason)" }
}

/// One errno(3) can have several causes; these functions look up which it was.
extension StartProblem {
  init(_ code: Int32, starting path: String, of launch: Launch) {
    self.init(program: launch.program, reason: Self.reason(code, path, launch), code: code)
  }

  private static func reason(_ code: Int32, _ path: String, _ launch: Launch) -> String {
    switch code {
    case ENOENT, ENOTDIR, EACCES, ELOOP, ENAMETOOLONG, EPERM:
      return ofDirectory(launch) ?? ofFile(code, path, launch) ?? words(code)
    case ENOEXEC: return "it is not a program for this system; a script must begin with a line such as #!/bin/sh"
    // The system also returns it for a malformed program, as distinct from ENOEXEC.
    case EINVAL:
      return "a word of its command or its environment contains a NUL byte, or it is not a program for this system"
    case E2BIG: return "its arguments and its environment are too long"
    case EAGAIN: return "the system allows no more processes"
    case ENOMEM: return "the system is out of memory"
    case EMFILE: return "this process has no file descriptor left"
    case ENFILE: return "the system has no file descriptor left"
    case ETXTBSY: return "another process has it open for writing"
    default: return words(code)
    }
  }

  private static func ofDirectory(_ launch: Launch) -> String? {
    guard let directory = launch.directory else { return nil }
    guard ProgramPath.isDirectory(directory) else { return "there is no directory \(directory)" }
    return access(directory, X_OK) == 0 ? nil : "no permission to enter its directory \(directory)"
  }

  private static func ofFile(_ code: Int32, _ path: String, _ launch: Launch) -> String? {
    let path = path.hasPrefix("/") ? path : "\(launch.directory ?? ".")/\(path)"
    if access(path, F_OK) != 0 { return errno == ENOENT ? "there is no such file" : words(errno) }
    if access(path, X_OK) != 0 || ProgramPath.isDirectory(path) { return "it is not executable" }
    guard ProgramPath.isRegular(path) else { return "it is not a regular file" }
    if let interpreter = interpreter(of: path) {
      if interpreter.hasSuffix("\r") {
        return "its first line ends with a carriage return; save it with Unix line endings"
      }
      if access(interpreter, F_OK) != 0 { return "there is no \(interpreter), which its first line names" }
      return "\(interpreter), which its first line names, is not executable"
    }
    if code == ENOENT { return "the loader it needs is missing; it may be built for another system" }
    return code == EACCES ? "its file system does not allow execution (noexec)" : nil
  }

  /// The interpreter that the `#!` line names.
  private static func interpreter(of path: String) -> String? {
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = read(file, &bytes, bytes.count)
    guard count > 2, bytes.starts(with: "#!".utf8) else { return nil }
    let line = bytes[2..<count].prefix { $0 != UInt8(ascii: "\n") }
    return String(decoding: line, as: UTF8.self).split(whereSeparator: { $0 == " " || $0 == "\t" }).first.map(
      String.init)
  }

  private static func words(_ code: Int32) -> String { String(cString: strerror(code)) }
}
