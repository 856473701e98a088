import Glibc

/// Access to the file system for reading settings; tests substitute their own.
package struct SettingsFiles: Sendable {
  /// The bytes of a file, or the system's reason why it cannot be read.
  package var read: @Sendable (String) -> Result<[UInt8], FileProblem>
  /// The names in a directory; nil if there is no such directory.
  package var list: @Sendable (String) -> Result<[String]?, FileProblem>

  package struct FileProblem: Error, Hashable, Sendable {
    package var message: String

    package init(_ message: String) { self.message = message }
  }

  package init(
    read: @escaping @Sendable (String) -> Result<[UInt8], FileProblem>,
    list: @escaping @Sendable (String) -> Result<[String]?, FileProblem> = { _ in .success(nil) }
  ) {
    self.read = { read($0).map(Self.withoutByteOrderMark) }
    self.list = list
  }

  /// Editors on other systems begin a file with the three bytes of a byte order mark, which are no part of its text.
  private static func withoutByteOrderMark(_ bytes: [UInt8]) -> [UInt8] {
    bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? Array(bytes.dropFirst(3)) : bytes
  }

  /// The files of this machine.
  package static let system = SettingsFiles(
    read: { path in
      // Non-blocking, since open(2) would wait for a writer if the path is a FIFO.
      let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
      guard descriptor >= 0 else { return .failure(FileProblem(errno)) }
      defer { close(descriptor) }
      var status = stat()
      guard fstat(descriptor, &status) == 0 else { return .failure(FileProblem(errno)) }
      guard status.st_mode & S_IFMT != S_IFIFO else { return .failure(FileProblem("it is a pipe, not a file")) }
      var bytes: [UInt8] = []
      var chunk = [UInt8](repeating: 0, count: 1 << 16)
      while true {
        let count = Glibc.read(descriptor, &chunk, chunk.count)
        guard count >= 0 else { return .failure(FileProblem(errno)) }
        guard count > 0 else { return .success(bytes) }
        bytes += chunk[..<count]
        guard bytes.count <= TOML.sizeLimit else {
          return .failure(FileProblem("the file is larger than \(TOML.sizeLimit >> 10) KiB"))
        }
      }
    },
    list: { path in
      guard let directory = opendir(path) else { return errno == ENOENT ? .success(nil) : .failure(FileProblem(errno)) }
      defer { closedir(directory) }
      var names: [String] = []
      while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
          $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name != ".", name != ".." { names.append(name) }
      }
      return .success(names.sorted())
    })
}

extension SettingsFiles.FileProblem {
  fileprivate init(_ number: Int32) { self.init(String(cString: strerror(number))) }
}
