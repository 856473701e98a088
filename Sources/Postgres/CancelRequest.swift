import CLibpq
import Concurrency
import Synchronization

/// Asks the server to end what a session runs, on a thread of its own: that blocks until the server accepts the request, and a frozen
/// server never does.
///
/// The request of old, `PQcancel`, sends the key of the session in the clear, also where the session itself is encrypted; who reads the
/// key can cancel its statements for as long as it lives. So it is used only where the session is in the clear too. An encrypted one is
/// cancelled by libpq's own encrypted request where libpq has it (17 and newer), and by `pg_cancel_backend` over another session with the
/// same settings elsewhere.
final class CancelRequest: Sendable {
  private let isOverFlag = Atomic<Bool>(false)
  var isOver: Bool { isOverFlag.load(ordering: .acquiring) }

  /// On the connection's own thread.
  init(_ connection: Connection) {
    let wakeup = connection.wakeup
    guard let send = Self.way(connection),
      startThread(
        "cancel",
        { [self] in
          send()
          isOverFlag.store(true, ordering: .releasing)
          wakeup.signal()
        })
    else {
      // No thread is left: the session is given up when its time is over.
      isOverFlag.store(true, ordering: .releasing)
      return
    }
  }

  /// A pointer of libpq's that one thread hands to another.
  private struct Handle: @unchecked Sendable { let pointer: UnsafeMutableRawPointer }

  private static func way(_ connection: Connection) -> (@Sendable () -> Void)? {
    guard connection.isEncrypted else {
      guard let cancel = PQgetCancel(connection.pointer) else { return nil }
      let handle = Handle(pointer: UnsafeMutableRawPointer(cancel))
      return {
        var message = [CChar](repeating: 0, count: 256)
        PQcancel(OpaquePointer(handle.pointer), &message, Int32(message.count))
        PQfreeCancel(OpaquePointer(handle.pointer))
      }
    }
    if let cancel = tidemark_cancel_of(connection.pointer) {
      let handle = Handle(pointer: cancel)
      return { tidemark_cancel_send(handle.pointer) }
    }
    let (options, attempt, process) = (connection.options, connection.sameServer, connection.serverProcess)
    return { cancel(process, options, attempt) }
  }

  private static func cancel(_ process: Int32, _ options: ConnectionOptions, _ attempt: ConnectionOptions.Attempt) {
    guard let wakeup = Wakeup() else { return }
    let operation = Operation(wakeup, timeout: Connection.drainLimit)
    guard let other = try? Connection(options, attempt, operation: operation, wakeup: wakeup, onNotice: nil) else {
      return
    }
    defer { other.close() }
    guard (try? other.send(script: "SELECT pg_catalog.pg_cancel_backend(\(process))")) != nil else { return }
    _ = try? other.results(operation)
  }
}

extension Connection {
  var isEncrypted: Bool { PQsslInUse(pointer) == 1 || PQgssEncInUse(pointer) == 1 }

  /// Leads to the server that this connection has reached.
  var sameServer: ConnectionOptions.Attempt {
    var attempt = attempt
    func set(_ key: String, _ value: UnsafeMutablePointer<CChar>?) {
      guard let value, value.pointee != 0 else { return }
      attempt.overrides.append(.init(key: key, value: String(cString: value)))
    }
    set("host", PQhost(pointer))
    set("hostaddr", PQhostaddr(pointer))
    set("port", PQport(pointer))
    attempt.overrides.append(.init(key: "target_session_attrs", value: "any"))
    return attempt
  }
}
