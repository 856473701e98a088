import Glibc
import Postgres
import Processes
import Synchronization

/// A private PostgreSQL in a temporary directory, for the demo and the tests. It touches no other data and leaves
/// nothing behind.
///
/// The server runs under a small shell that waits on a pipe from this process. When this process ends for any reason,
/// the pipe closes, and the shell stops the server and removes the directory. PostgreSQL refuses to run as root, so as
/// root everything runs as another user.
package final class PrivateCluster: Sendable {
  /// The directory with the data, the socket and the server's log; removed with the cluster.
  package let directory: String
  package let port: Int
  private let programs: String
  private let settings: [String: String]
  private let listensOnTCP: Bool
  /// The shell around the server; its standard input is the pipe.
  private let keeper = Mutex<Child?>(nil)
  private let databases = Atomic<Int>(0)

  package struct Problem: Error, Sendable, CustomStringConvertible {
    package var description: String
  }

  package enum StopMode: String, Sendable {
    /// Ends all sessions and writes a checkpoint.
    case fast = "INT"
    /// Like a crash: the next start recovers from the write-ahead log.
    case immediate = "QUIT"
  }

  private init(directory: String, programs: String, settings: [String: String], port: Int, listensOnTCP: Bool) {
    self.directory = directory
    self.programs = programs
    self.settings = settings
    self.port = port
    self.listensOnTCP = listensOnTCP
  }

  deinit { keeper.withLock { $0?.input?.close() } }

  /// Creates a cluster and starts it.
  ///
  /// - Parameters:
  ///   - settings: `postgresql.conf` settings that override our own.
  ///   - listensOnTCP: whether the server also listens on 127.0.0.1, not only on a socket in the directory.
  package static func start(settings: [String: String] = [:], listensOnTCP: Bool = false) async throws -> PrivateCluster
  {
    let programs = try findPrograms()
    var template = Array("/tmp/tidemark-XXXXXX".utf8CString)
    guard let path = template.withUnsafeMutableBufferPointer({ mkdtemp($0.baseAddress!).map { String(cString: $0) } })
    else {
      throw Problem(description: "cannot create a temporary directory in /tmp (errno \(errno))")
    }
    let cluster = PrivateCluster(
      directory: path, programs: programs, settings: settings, port: listensOnTCP ? try freePort() : 5432,
      listensOnTCP: listensOnTCP)
    if let user = unprivilegedUser() { chown(path, user.pw_uid, user.pw_gid) }
    do {
      try await cluster.run(
        "\(programs)/initdb --pgdata=\(path)/data --auth=trust --username=postgres --encoding=UTF8 --locale=C.UTF-8 --no-sync"
          + " >\(path)/log 2>&1")
      try await cluster.startServer()
    } catch {
      await cluster.remove()
      throw error
    }
    return cluster
  }

  /// A connection string for libpq.
  package func conninfo(database: String) -> String {
    "host=\(listensOnTCP ? "127.0.0.1" : directory) port=\(port) user=postgres dbname=\(database)"
  }

  /// Creates an empty database and returns its name.
  /// - Parameter encoding: such as `LATIN1`; nil for that of the cluster.
  package func createDatabase(encoding: String? = nil) async throws -> String {
    let name = "test_\(databases.wrappingAdd(1, ordering: .relaxed).newValue)"
    let session = try await Session.connect(
      ConnectionOptions(conninfo: conninfo(database: "postgres")), threadName: "cluster")
    _ = try await session.closing { session in
      let options: SQL =
        encoding.map { "TEMPLATE template0 ENCODING \(raw: SQL.quoted(literal: $0)) LC_COLLATE 'C' LC_CTYPE 'C'" } ?? ""
      try await session.execute("CREATE DATABASE \(identifier: name) \(raw: options.text)", timeout: .seconds(60))
    }
    return name
  }

  /// Starts the server again after ``stop(_:)``, and waits until it answers.
  package func startServer() async throws {
    var options = [
      "unix_socket_directories": directory, "listen_addresses": listensOnTCP ? "127.0.0.1" : "", "port": "\(port)",
      "max_connections": "400", "max_prepared_transactions": "20", "shared_buffers": "128MB",
    ]
    options.merge(settings) { _, new in new }
    let arguments = options.sorted { $0.key < $1.key }.map { "-c '\($0.key)=\($0.value)'" }.joined(separator: " ")
    // Repeats the signal: a background process of a shell ignores both signals until it has become the server.
    let script = """
      \(programs)/postgres -D \(directory)/data \(arguments) </dev/null >>\(directory)/log 2>&1 &
      server=$!
      end() { (while kill -s "$1" $server; do sleep 1; done) 2>/dev/null & wait $server; }
      if read -r signal; then end "$signal"; exit; fi
      end QUIT; rm -rf \(directory)
      """
    let started = try await shell(script, input: .pipe).start()
    keeper.withLock { $0 = started }
    let deadline = ContinuousClock.now + .seconds(60)
    while true {
      do {
        let options = ConnectionOptions(conninfo: conninfo(database: "postgres"), connectTimeout: .seconds(5))
        let session = try await Session.connect(options, threadName: "cluster")
        await session.close()
        return
      } catch {
        guard ContinuousClock.now < deadline else {
          throw Problem(
            description: "the private PostgreSQL did not start within 60 s: \(error.message); see \(directory)/log")
        }
        try await Task.sleep(for: .milliseconds(20))
      }
    }
  }

  /// Stops the server and waits until it has exited; the data stays.
  package func stop(_ mode: StopMode) async {
    guard let keeper = keeper.withLock({ $0.take() }) else { return }
    // If the shell is gone, it has stopped the server already.
    try? await keeper.input?.write(Array("\(mode.rawValue)\n".utf8))
    await ended(keeper)
  }

  package func restart(_ mode: StopMode) async throws {
    await stop(mode)
    try await startServer()
  }

  /// Stops the server and removes the directory.
  package func remove() async {
    if let keeper = keeper.withLock({ $0.take() }) { await ended(keeper) }
    if let removing = try? await shell("rm -rf \(directory)").start() { await ended(removing) }
  }

  /// The pids of the running server and its children.
  package var processes: [Int32] {
    guard let text = contents(of: "\(directory)/data/postmaster.pid"), let first = text.split(separator: "\n").first,
      let server = Int32(first)
    else { return [] }
    let children = contents(of: "/proc/\(server)/task/\(server)/children") ?? ""
    return [server] + children.split(separator: " ").compactMap { Int32($0) }
  }

  private func contents(of file: String) -> String? {
    guard let stream = fopen(file, "r") else { return nil }
    defer { fclose(stream) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while case let count = fread(&buffer, 1, buffer.count, stream), count > 0 { bytes += buffer.prefix(count) }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Runs a command as the cluster's user, and waits for it.
  private func run(_ script: String) async throws {
    let termination = await ended(try await shell(script).start())
    guard termination.isSuccess else {
      throw Problem(
        description: "cannot create a private PostgreSQL (\(termination)): \(lastLines(of: "\(directory)/log"))")
    }
  }

  /// A shell that runs as the cluster's user, in its own process group, so that Ctrl-C at the terminal reaches us and
  /// not the server.
  private func shell(_ script: String, input: Launch.Stream = .nothing) -> Launch {
    var words = ["/bin/sh", "-c", script]
    if Self.unprivilegedUser() != nil {
      let name = Self.unprivilegedName
      words = ["/usr/bin/setpriv", "--reuid=\(name)", "--regid=\(name)", "--clear-groups", "--"] + words
    }
    if !Self.serverRoot.isEmpty { words = ["/usr/sbin/chroot", Self.serverRoot] + words }
    var launch = Launch(
      words[0], Array(words.dropFirst()),
      environment: .only(["PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"]), input: input,
      output: .nothing, error: .nothing)
    // It cleans up after this process has ended.
    launch.outlivesUs = true
    return launch
  }

  /// Waits for a child, even in a cancelled task.
  @discardableResult
  private func ended(_ child: Child) async -> Termination {
    child.input?.close()
    return await child.waitForEnd()
  }

  private func lastLines(of file: String) -> String {
    guard let stream = fopen(file, "r") else { return "no log" }
    defer { fclose(stream) }
    var lines: [String] = []
    var buffer = [CChar](repeating: 0, count: 1024)
    while fgets(&buffer, Int32(buffer.count), stream) != nil {
      lines.append(String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self))
    }
    return lines.suffix(5).joined()
  }

  /// The root directory in which the server programs run, for packaging/test-against-debian: another Debian release,
  /// which shares our /tmp and our user `postgres`.
  private static let serverRoot = getenv("TIDEMARK_POSTGRES_ROOT").map { String(cString: $0) } ?? ""

  private static let unprivilegedName = getpwnam("postgres") != nil ? "postgres" : "nobody"

  /// The user to run the server as, if we are root.
  private static func unprivilegedUser() -> passwd? { getuid() == 0 ? getpwnam(unprivilegedName)?.pointee : nil }

  /// The newest server programs that Debian's packages installed.
  private static func findPrograms() throws -> String {
    let versions = (14...30).reversed().map { "/usr/lib/postgresql/\($0)/bin" } + ["/usr/local/pgsql/bin", "/usr/bin"]
    guard
      let found = versions.first(where: {
        access("\(serverRoot)\($0)/initdb", X_OK) == 0 && access("\(serverRoot)\($0)/postgres", X_OK) == 0
      })
    else {
      throw Problem(description: "no PostgreSQL server programs are installed; install the package postgresql")
    }
    return found
  }

  private static func freePort() throws -> Int {
    let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(socket) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let status = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        bind(socket, pointer, size) == 0 ? getsockname(socket, pointer, &size) : -1
      }
    }
    guard status == 0 else { throw Problem(description: "no free TCP port on 127.0.0.1 (errno \(errno))") }
    return Int(UInt16(bigEndian: address.sin_port))
  }
}
