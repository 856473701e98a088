import CLibpq
import Glibc
import Synchronization

/// One libpq connection, driven without blocking by the one thread that owns it.
///
/// Every wait is a `poll` of the socket and the wake-up descriptor, with the operation's deadline. To end an operation
/// early, this thread asks the server to cancel it and then reads all remaining results, so that the session is clean
/// for the next operation.
final class Connection: @unchecked Sendable {
  private(set) var pointer: OpaquePointer
  let wakeup: Wakeup
  let options: ConnectionOptions
  let attempt: ConnectionOptions.Attempt
  /// The server's process, which is not the one that a pooler names.
  var serverProcess: Int32 = 0
  private let isOpenFlag = Atomic<Bool>(true)
  private let notices: Unmanaged<NoticeBox>

  /// How long the server has to answer after a cancel request, before the connection is given up.
  static let drainLimit = Duration.seconds(5)

  /// Used only on the connection's thread.
  private final class NoticeBox {
    let handle: (@Sendable (ServerMessage) -> Void)?
    /// The server's reason for ending the session, if it sent one while no statement ran.
    private(set) var farewell: ServerMessage?

    init(_ handle: (@Sendable (ServerMessage) -> Void)?) { self.handle = handle }

    func take(_ message: ServerMessage) {
      if message.severity == "FATAL" { farewell = message } else { handle?(message) }
    }
  }

  var isOpen: Bool { isOpenFlag.load(ordering: .acquiring) }

  /// Connects on the calling thread.
  init(
    _ options: ConnectionOptions, _ attempt: ConnectionOptions.Attempt, operation: Operation, wakeup: Wakeup,
    onNotice: (@Sendable (ServerMessage) -> Void)?
  ) throws(PostgresError) {
    let pairs = options.parameters(attempt)
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
    // So that the text has the SQLSTATE with which the server refuses, which libpq gives in no other way.
    PQsetErrorVerbosity(pointer, PQERRORS_VERBOSE)
    self.wakeup = wakeup
    self.options = options
    self.attempt = attempt
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
    PQsetErrorVerbosity(pointer, PQERRORS_DEFAULT)
    PQsetnonblocking(pointer, 1)
    PQsetNoticeReceiver(
      pointer,
      { argument, result in
        guard let argument, let result else { return }
        Unmanaged<NoticeBox>.fromOpaque(argument).takeUnretainedValue().take(ServerMessage(result))
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

  /// Sets keepalives and `tcp_user_timeout`, unless the operator set them in a URI, a service file or another place
  /// that libpq reads: this detects a vanished server within 15 s instead of two hours.
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
    // A probe after 5, 8, 11 and 14 s: the last one meets the limit, which holds for probes too.
    set("keepalives_idle", TCP_KEEPIDLE, 5)
    set("keepalives_interval", TCP_KEEPINTVL, 3)
    set("keepalives_count", TCP_KEEPCNT, 3)
    set("tcp_user_timeout", TCP_USER_TIMEOUT, 12_000)
  }

  func close() {
    guard isOpenFlag.exchange(false, ordering: .acquiringAndReleasing) else { return }
    PQfinish(pointer)
  }

  /// Closes the broken connection, and returns the error to throw.
  func lost(_ what: String) -> PostgresError {
    let error = connectionError(what)
    close()
    return error
  }

  private func connectionError(_ what: String) -> PostgresError {
    if let farewell = notices.takeUnretainedValue().farewell { return PostgresError(.server(farewell)) }
    let said = PQerrorMessage(pointer).map { String(cString: $0).trimmed } ?? ""
    return PostgresError(refusal: said.isEmpty ? what : said, conceal: options.conceal)
  }
}

extension PostgresError {
  /// - Parameter text: libpq's verbose one, `FATAL:  28P01: password authentication failed`, whose codes and `LOCATION` lines are for
  ///   programs.
  init(refusal text: String, conceal: (String) -> String = { $0 }) {
    var code: SQLState?
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).compactMap { line -> Substring? in
      if line.starts(with: #/[^ :]+:  [^ ,]+, [^ :,]+\.c:\d+$/#) { return nil }
      guard let found = line.firstMatch(of: #/: {2}([0-9A-Z]{5}): /#) else { return line }
      code = SQLState(String(found.output.1))
      return line[..<found.range.lowerBound] + ":  " + line[found.range.upperBound...]
    }
    self.init(.connection(conceal(lines.joined(separator: "\n"))))
    refusal = code
  }
}

// The steps of an operation between sending and its last result.
extension Connection {
  /// Sends everything queued, and reads meanwhile so that neither side blocks the other.
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

  /// Waits for the socket, and asks the server to cancel when the operation has to end.
  func wait(_ events: Int32, _ operation: Operation, _ cancelling: inout Cancelling) throws(PostgresError) {
    if cancelling.reason == nil, let reason = operation.stop {
      cancelling.reason = reason
      cancelling.giveUpAt = .now + Self.drainLimit
      cancelling.request = CancelRequest(self)
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

  /// Waits until a requested cancel has been sent or given up, so that it cannot hit the session's next statement.
  func settle(_ cancelling: Cancelling) throws(PostgresError) {
    guard let request = cancelling.request, let giveUpAt = cancelling.giveUpAt, isOpen else { return }
    while !request.isOver {
      guard ContinuousClock.now < giveUpAt else {
        close()
        throw cancelling.reason!
      }
      _ = Self.poll(-1, 0, wakeup, until: giveUpAt)
    }
  }

  /// Why an operation is being cancelled, and the deadline for the server's answer.
  struct Cancelling {
    var reason: PostgresError?
    var giveUpAt: ContinuousClock.Instant?
    var request: CancelRequest?

    /// The error to throw for a server message: "canceling statement due to user request" becomes our reason for
    /// cancelling.
    func error(for message: ServerMessage) -> PostgresError {
      if let reason, message.sqlState == .queryCanceled { return reason }
      return PostgresError(.server(message))
    }
  }

  /// Waits until the socket is ready, the wake-up descriptor is readable, or the deadline passes; returns the socket's
  /// events.
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
