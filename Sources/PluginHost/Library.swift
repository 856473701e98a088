import CTidemarkPlugin
import Glibc
import Plugins
import Postgres
import Rules
import Telemetry

/// A loaded shared object on a thread of its own: all calls across the C interface.
///
/// The plugin gets pointers into the page itself; the daemon copies the plugin's texts at once. The object is never unloaded, since its
/// own threads may still run after it is closed.
actor Library {
  private let path: String
  /// A call into the library blocks this thread.
  private let thread: SessionThread
  private let host: LibraryHost
  private var table: tidemark_plugin?
  /// The instance that is open. If its close timed out, opening the next one closes it.
  private var instance = 0
  private var state: UnsafeMutableRawPointer?
  private var memory = PageMemory()

  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  struct Opening: Sendable {
    var config: String
    var shard: String
    var database: String
    var mode: String
  }

  /// - Throws: ``Problem`` if the system has no thread left for it.
  init(path: String, shard: ShardName, observer: any Observer) throws(Problem) {
    guard let thread = SessionThread(name: "plugin") else {
      throw .notStarted(program: path, reason: "the system has no thread left for it")
    }
    self.path = path
    self.thread = thread
    host = LibraryHost(shard: shard, observer: observer)
  }

  deinit { thread.end() }

  func open(_ opening: Opening, position: Int64, instance: Int) throws(Problem) {
    // It may be open already, if the wait for its first opening timed out.
    if table != nil, self.instance == instance { return }
    close(self.instance)
    let table = try load()
    let host = host.begin()
    let code = withTexts([opening.config, opening.shard, opening.database, opening.mode]) { texts in
      var opening = tidemark_opening(
        config: texts[0], shard: texts[1], database: texts[2], mode: texts[3], position: position)
      return table.open(&opening, host, &state)
    }
    let said = self.host.end()
    switch code {
    case CInt(TIDEMARK_READY): (self.table, self.instance) = (table, instance)
    case CInt(TIDEMARK_FAILED): throw .refused(said.failure?.message ?? "no reason given")
    default: throw .wrongAnswer("returned \(code) from open")
    }
  }

  func apply(_ slice: EventSlice) throws(Problem) -> PluginAnswer {
    guard let table else { throw .badLibrary("\(path) is not open") }
    let host = host.begin()
    let code = memory.withPage(slice) { page in table.apply(state, page, host) }
    let said = self.host.end()
    switch (code, said.failure) {
    case (CInt(TIDEMARK_APPLIED), nil):
      return .applied(ceiling: slice.page.ceiling, statements: said.statements)
    case (CInt(TIDEMARK_FAILED), var failure?):
      failure.statements = said.statements
      return .failed(failure)
    case (CInt(TIDEMARK_APPLIED), _?):
      throw .wrongAnswer("reported a failed event, then returned that all events are applied")
    case (CInt(TIDEMARK_FAILED), nil): throw .wrongAnswer("returned a failure without reporting which event failed")
    default: throw .wrongAnswer("returned \(code) from apply")
    }
  }

  /// Closes this instance if it is open.
  func close(_ instance: Int) {
    guard let table, self.instance == instance else { return }
    self.table = nil
    _ = host.begin()
    table.close(state)
    _ = host.end()
    state = nil
  }

  private func load() throws(Problem) -> tidemark_plugin {
    if access(path, R_OK) != 0 {
      throw .notStarted(program: path, reason: errno == ENOENT ? "there is no such file" : "it cannot be read")
    }
    guard let handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) else {
      throw .badLibrary("\(path) cannot be loaded: \(dlerror().map { String(cString: $0) } ?? "unknown reason")")
    }
    guard let symbol = dlsym(handle, "tidemark_plugin_main") else {
      throw .badLibrary("\(path) has no function tidemark_plugin_main")
    }
    typealias Main = @convention(c) () -> UnsafePointer<UInt32>?
    guard let found = unsafeBitCast(symbol, to: Main.self)() else {
      throw .badLibrary("\(path): tidemark_plugin_main returned nothing")
    }
    // Every version of the table starts with its version; the rest is read only if that is ours.
    guard found.pointee == UInt32(TIDEMARK_PLUGIN_ABI) else {
      throw .badLibrary(
        "\(path) was built for version \(found.pointee) of the plugin interface; this daemon has version \(TIDEMARK_PLUGIN_ABI)"
      )
    }
    let functions = UnsafeRawPointer(found).assumingMemoryBound(to: UnsafeRawPointer?.self)
    guard (1...3).allSatisfy({ functions[$0] != nil }) else {
      throw .badLibrary("\(path): its table lacks open, apply or close")
    }
    return UnsafeRawPointer(found).load(as: tidemark_plugin.self)
  }
}

/// Texts that the library may read during the call, one after the other in one piece of memory.
private func withTexts<T>(_ texts: [String], _ body: ([tidemark_text]) -> T) -> T {
  texts.flatMap(\.utf8).withUnsafeBytes { memory in
    var begin = memory.assumingMemoryBound(to: CChar.self).baseAddress
    return body(
      texts.map { text in
        defer { begin = begin?.advanced(by: text.utf8.count) }
        return tidemark_text(bytes: begin, length: text.utf8.count)
      })
  }
}
