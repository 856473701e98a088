import CLibpq
import Glibc
import Synchronization

/// One libpq connection, driven without blocking by the one thread that owns it.
///
/// Every wait is a `poll` of the socket and the wake-up, with the operation's deadline. When an operation is to end early, this thread asks
/// the server to cancel it and then reads on to the end, so that the session is clean for the next one.
final class Connection: @unchecked Sendable {
  private(set) var pointer: OpaquePointer
  let wakeup: Wakeup
  private let isOpenFlag = Atomic<Bool>(true)
  private let notices: Unmanaged<NoticeBox>

  /// After a cancel was asked for, the server has this long to answer before the connection is given up.
  static let drainLimit = Duration.seconds(5)

  private final class NoticeBox: Sendable {
    let handle: (@Sendable (ServerMessage) -> Void)?
    init(_ handle: (@Sendable (ServerMessage) -> Void)?) { self.handle = handle }
  }

  var isOpen: Bool { isOpenFlag.load(ordering: .acquiring) }

  /// Connects, on the calling thread.
  init(
    _ options: ConnectionOptions, operation: Operation, wakeup: Wakeup, onNotice: (@Sendable (ServerMessage) -> Void)?
  ) throws(PostgresError) {
    _ = try options.parsed()
    let pairs = options.parameters
    var keys = pairs.map { strdup($0.0) }
    var values = pairs.map { strdup($0.1) }
    defer { for pointer in keys + values { free(pointer) } }
    keys.append(nil)
    values.append(nil)
    let started = keys.withUnsafeBufferPointer { keys in
      values.withUnsafeBufferPointer { values in
        keys.withMemoryRebound(to: UnsafePointer<CChar>?.self) { keys in
          values.withMemoryRebound(to: UnsafePointer<CChar>?.self) { values in
            PQconnectStartParams(keys.baseAddress, values.baseAddress, 1)
          }
        }
      }
    }
    guard let started else { throw PostgresError(.connection("out of memory")) }
    pointer = started
    self.wakeup = wakeup
    notices = Unmanaged.passRetained(NoticeBox(onNotice))
    var error: PostgresError?
    do throws(PostgresError) {
      try finishConnecting(operation, wakeup)
    } catch let caught {
      error = caught
    }
    if let error {
      close()
      throw error
    }
    PQsetnonblocking(pointer, 1)
    PQsetNoticeReceiver(
      pointer,
      { argument, result in
        guard let argument, let result else { return }
        Unmanaged<NoticeBox>.fromOpaque(argument).takeUnretainedValue().handle?(ServerMessage(result))
      }, notices.toOpaque())
    setKeepalives()
  }

  deinit {
    if isOpen { PQfinish(pointer) }
    notices.release()
  }

  private func finishConnecting(_ operation: Operation, _ wakeup: Wakeup) throws(PostgresError) {
    var waitFor = PGRES_POLLING_WRITING
    while true {
      guard PQstatus(pointer) != CONNECTION_BAD else { throw connectionError("cannot connect") }
      if let stop = operation.stop {
        if case .timedOut(let limit) = stop.kind { throw PostgresError(.connection("no answer within \(limit)")) }
        throw stop
      }
      let events = waitFor == PGRES_POLLING_READING ? POLLIN : POLLOUT
      _ = Self.poll(PQsocket(pointer), Int16(events), wakeup, until: operation.deadline)
      if operation.stop != nil { continue }
      waitFor = PQconnectPoll(pointer)
      switch waitFor {
      case PGRES_POLLING_OK: return
      case PGRES_POLLING_FAILED: throw connectionError("cannot connect")
      default: continue
      }
    }
  }

  /// Keepalives and `tcp_user_timeout` where the operator set none, in a URI, a service file or wherever else libpq looks: a server that
  /// vanished is noticed within half a minute, not after two hours.
  private func setKeepalives() {
    let given = ConnectionOptions.read(PQconninfo(pointer))
    var family = sockaddr_storage()
    var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let socket = PQsocket(pointer)
    let status = withUnsafeMutablePointer(to: &family) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(socket, $0, &size) }
    }
    guard status == 0, family.ss_family != sa_family_t(AF_UNIX), given["keepalives"] != "0" else { return }
    func set(_ key: String, _ option: Int32, _ value: Int32) {
      guard given[key]?.isEmpty ?? true else { return }
      var value = value
      _ = setsockopt(socket, Int32(IPPROTO_TCP), option, &value, socklen_t(MemoryLayout<Int32>.size))
    }
    set("keepalives_idle", TCP_KEEPIDLE, 10)
    set("keepalives_interval", TCP_KEEPINTVL, 5)
    set("keepalives_count", TCP_KEEPCNT, 3)
    set("tcp_user_timeout", TCP_USER_TIMEOUT, 15_000)
  }

  func close() {
    guard isOpenFlag.exchange(false, ordering: .acquiringAndReleasing) else { return }
    PQfinish(pointer)
  }

  /// Gives the connection up because it is broken; returns what to throw.
  func lost(_ what: String) -> PostgresError {
    let error = connectionError(what)
    close()
    return error
  }

  private func connectionError(_ what: String) -> PostgresError {
    let said = PQerrorMessage(pointer).map { String(cString: $0).trimmed } ?? ""
    return PostgresError(.connection(said.isEmpty ? what : said))
  }
}

// What an operation does between sending and its last result.
extension Connection {
  /// Sends everything that is queued, reading meanwhile so that neither side blocks the other.
  func flush(_ operation: Operation, _ cancelling: inout Cancelling) throws(PostgresError) {
    while true {
      switch PQflush(pointer) {
      case 0: return
      case 1: try wait(POLLIN | POLLOUT, operation, &cancelling)
      default: throw lost("the connection was lost while sending")
      }
    }
  }

  /// The next result, or nil at the end of a statement.
  func nextResult(_ operation: Operation, _ cancelling: inout Cancelling) throws(PostgresError) -> OpaquePointer? {
    while PQisBusy(pointer) == 1 { try wait(POLLIN, operation, &cancelling) }
    guard PQstatus(pointer) == CONNECTION_OK else { throw lost("the connection was lost") }
    return PQgetResult(pointer)
  }

  /// Waits for the socket, and asks the server to cancel when the operation is to end.
  func wait(_ events: Int32, _ operation: Operation, _ cancelling: inout Cancelling) throws(PostgresError) {
    if cancelling.reason == nil, let reason = operation.stop {
      cancelling.reason = reason
      cancelling.giveUpAt = .now + Self.drainLimit
      askToCancel()
    }
    let deadline = cancelling.giveUpAt ?? operation.deadline
    let ready = Self.poll(PQsocket(pointer), Int16(events), wakeup, until: deadline)
    if let giveUpAt = cancelling.giveUpAt, ContinuousClock.now >= giveUpAt {
      let reason = cancelling.reason!
      close()
      throw reason
    }
    if ready != 0, PQconsumeInput(pointer) == 0 { throw lost("the connection was lost") }
  }

  private func askToCancel() {
    guard let cancel = PQgetCancel(pointer) else { return }
    defer { PQfreeCancel(cancel) }
    var message = [CChar](repeating: 0, count: 256)
    // Blocks until the server has taken it; a server that does not answer is left to the drain limit and TCP's own timeouts.
    PQcancel(cancel, &message, Int32(message.count))
  }

  /// Why an operation is being cancelled, and until when the server may take to answer.
  struct Cancelling {
    var reason: PostgresError?
    var giveUpAt: ContinuousClock.Instant?

    /// The error to throw for what the server said: its "canceling statement due to user request" becomes our reason for asking.
    func error(for message: ServerMessage) -> PostgresError {
      if let reason, message.sqlState == .queryCanceled { return reason }
      return PostgresError(.server(message))
    }
  }

  /// Waits until the socket is ready or the wake-up rings or the time is over; returns the socket's events.
  static func poll(_ socket: Int32, _ events: Int16, _ wakeup: Wakeup, until deadline: ContinuousClock.Instant?)
    -> Int16
  {
    var descriptors = [
      pollfd(fd: socket, events: events, revents: 0), pollfd(fd: wakeup.descriptor, events: Int16(POLLIN), revents: 0),
    ]
    let milliseconds = deadline.map { deadline in
      let left = ContinuousClock.now.duration(to: deadline)
      return Int32(
        clamping: max(
          0,
          (left / .milliseconds(1)).rounded(.up) < 2e9 ? Int64((left / .milliseconds(1)).rounded(.up)) : 2_000_000_000))
    }
    _ = Glibc.poll(&descriptors, 2, milliseconds ?? -1)
    if descriptors[1].revents != 0 { wakeup.drain() }
    return descriptors[0].revents
  }
}
