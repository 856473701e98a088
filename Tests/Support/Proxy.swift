import Glibc
import Synchronization

/// A TCP relay before the server that can be cut: then it takes nothing and passes nothing on in either direction, and closes nothing,
/// as a network does whose cable was pulled. What was under way arrives when the cut heals.
package final class Proxy: Sendable {
  package let port: Int
  private let target: Int
  private let listener: Int32
  private let isCutFlag = Atomic<Bool>(false)
  private let isEnding = Atomic<Bool>(false)
  private let opening: @Sendable ([UInt8]) -> Void

  /// - Parameter opening: called with the first bytes that come on each connection.
  package init(to port: Int, opening: @escaping @Sendable ([UInt8]) -> Void = { _ in }) throws {
    target = port
    self.opening = opening
    listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var address = Self.loopback(0)
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let listener = listener
    let status = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, size) == 0 && listen(listener, 64) == 0 ? getsockname(listener, $0, &size) : -1
      }
    }
    guard status == 0 else { throw Trouble(errno: errno) }
    self.port = Int(UInt16(bigEndian: address.sin_port))
    let thread = Unmanaged.passRetained(self)
    var id = pthread_t()
    pthread_create(
      &id, nil,
      {
        Unmanaged<Proxy>.fromOpaque($0!).takeRetainedValue().relay()
        return nil
      }, thread.toOpaque())
    pthread_detach(id)
  }

  package struct Trouble: Error { var errno: Int32 }

  package func cut() { isCutFlag.store(true, ordering: .releasing) }
  package func heal() { isCutFlag.store(false, ordering: .releasing) }
  package func end() { isEnding.store(true, ordering: .releasing) }

  /// One direction of a connection.
  private struct Flow {
    var from: Int32
    var to: Int32
    /// Its first bytes open the connection.
    var isOpening: Bool
    var isOver = false
  }

  private func relay() {
    var flows: [Flow] = []
    while !isEnding.load(ordering: .acquiring) {
      guard !isCutFlag.load(ordering: .acquiring) else {
        usleep(2_000)
        continue
      }
      var polled = [pollfd(fd: listener, events: Int16(POLLIN), revents: 0)]
      polled += flows.map { pollfd(fd: $0.isOver ? -1 : $0.from, events: Int16(POLLIN), revents: 0) }
      guard poll(&polled, nfds_t(polled.count), 5) > 0 else { continue }
      // A cut that came while this waited holds too.
      guard !isCutFlag.load(ordering: .acquiring) else { continue }
      for index in flows.indices where polled[index + 1].revents != 0 { pass(&flows[index]) }
      if polled[0].revents != 0 { flows += accepted() }
      for index in stride(from: 0, to: flows.count, by: 2).reversed()
      where flows[index].isOver || flows[index + 1].isOver {
        close(flows[index].from)
        close(flows[index].to)
        flows.removeSubrange(index...index + 1)
      }
    }
    for flow in flows { close(flow.from) }
    close(listener)
  }

  private func pass(_ flow: inout Flow) {
    var buffer = [UInt8](repeating: 0, count: 65_536)
    let count = read(flow.from, &buffer, buffer.count)
    guard count > 0 else {
      flow.isOver = true
      return
    }
    if flow.isOpening { opening(Array(buffer[..<count])) }
    flow.isOpening = false
    var sent = 0
    while sent < count {
      let written = buffer[sent..<count].withUnsafeBytes {
        send(flow.to, $0.baseAddress!, $0.count, Int32(MSG_NOSIGNAL))
      }
      guard written > 0 else {
        flow.isOver = true
        return
      }
      sent += written
    }
  }

  private func accepted() -> [Flow] {
    let client = accept(listener, nil, nil)
    guard client >= 0 else { return [] }
    _ = fcntl(client, F_SETFD, FD_CLOEXEC)
    let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var address = Self.loopback(target)
    let status = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard status == 0 else {
      close(client)
      close(server)
      return []
    }
    return [
      Flow(from: client, to: server, isOpening: true), Flow(from: server, to: client, isOpening: false),
    ]
  }

  private static func loopback(_ port: Int) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return address
  }
}
