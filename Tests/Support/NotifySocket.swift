import Foundation
import Glibc
import Synchronization

/// Where a daemon tells systemd how it is.
package final class NotifySocket: Sendable {
  package let path: String
  private let descriptor: Int32
  private let received = Mutex<[String]>([])

  package init() throws {
    path = "/tmp/tidemark-notify-\(UUID().uuidString.prefix(8))"
    descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let status = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard status == 0 else { throw CocoaError(.fileWriteUnknown) }
  }

  deinit {
    close(descriptor)
    unlink(path)
  }

  /// Sends until the queue is full, as after the silence of a reader that is frozen.
  package func fill() {
    let sender = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
    defer { close(sender) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        while sendto(sender, "x", 1, 0, address, socklen_t(MemoryLayout<sockaddr_un>.size)) == 1 {}
      }
    }
  }

  /// Every line so far.
  package var messages: [String] {
    received.withLock { all in
      var buffer = [UInt8](repeating: 0, count: 4096)
      while case let count = read(descriptor, &buffer, buffer.count), count > 0 {
        all += String(decoding: buffer.prefix(count), as: UTF8.self).split(separator: "\n").map(String.init)
      }
      return all
    }
  }
}
