import Glibc
import Processes
import Testing

/// A private directory for the files and programs of a test.
final class Scratch: Sendable {
  let directory: String

  init() throws {
    var template = Array("\(getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp")/children-XXXXXX".utf8CString)
    directory = try #require(
      template.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress!).map { String(cString: $0) } })
  }

  deinit {
    let words: [UnsafeMutablePointer<CChar>?] = (["rm", "-rf", directory] as [String]).map { strdup($0) } + [nil]
    var pid = pid_t()
    if posix_spawn(&pid, "/bin/rm", nil, nil, words, nil) == 0 { waitpid(pid, nil, 0) }
    for word in words { free(word) }
  }

  func path(_ name: String) -> String { "\(directory)/\(name)" }

  /// Writes a file, and returns its path.
  @discardableResult
  func file(_ name: String, _ text: String, mode: mode_t = 0o755) throws -> String {
    let file = open(path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
    try #require(file >= 0 && write(file, text, text.utf8.count) == text.utf8.count)
    close(file)
    return path(name)
  }

  func contents(_ name: String) -> String { Proc.contents(path(name)) }
}

/// Reads /proc.
enum Proc {
  static func contents(_ path: String) -> String {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return "" }
    defer { close(file) }
    var (bytes, buffer) = ([UInt8](), [UInt8](repeating: 0, count: 4096))
    while case let count = read(file, &buffer, buffer.count), count > 0 { bytes += buffer[..<count] }
    return String(decoding: bytes, as: UTF8.self)
  }

  static func names(_ path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      names.append(
        withUnsafeBytes(of: &entry.pointee.d_name) { String(cString: $0.bindMemory(to: CChar.self).baseAddress!) })
    }
    return names.filter { $0 != "." && $0 != ".." }
  }

  /// "S", "Z", or nil if there is no such process.
  static func state(_ pid: Int32) -> Substring? {
    contents("/proc/\(pid)/stat").split(separator: ")").last?.split(separator: " ").first
  }

  static func group(_ pid: Int32) -> Int32? {
    let fields = contents("/proc/\(pid)/stat").split(separator: ")").last?.split(separator: " ") ?? []
    return fields.count > 2 ? Int32(fields[2]) : nil
  }

  /// A field of /proc/PID/status.
  static func field(_ name: String, in status: String) -> Substring? {
    status.split(separator: "\n").first { $0.hasPrefix("\(name):") }?.split(separator: "\t").last
  }
}

struct Late: Error, CustomStringConvertible { var description: String }

func eventually(
  _ what: String, within limit: Duration = .seconds(20), _ isTrue: () async throws -> Bool
) async throws {
  let deadline = ContinuousClock.now + limit
  while try await !isTrue() {
    guard ContinuousClock.now < deadline else { throw Late(description: "\(what): not within \(limit)") }
    try await Task.sleep(for: .milliseconds(5))
  }
}

func shell(_ script: String, input: Launch.Stream = .nothing) -> Launch {
  Launch("/bin/sh", ["-c", script], input: input)
}
