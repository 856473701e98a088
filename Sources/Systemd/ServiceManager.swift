import CSystemd
import Concurrency
import Glibc

/// Notifies systemd of the service's state by sd_notify(3). Without a service manager the calls do nothing.
///
/// A service manager that does not read, such as one that is frozen, must not hold up its callers: an ``Outbox`` sends their news, and
/// a newer one of a kind takes the place of those that still wait.
package struct ServiceManager: Sendable {
  /// Nil if no service manager is listening.
  private let outbox: Outbox<String>?
  /// How often the watchdog expects a notification; nil if it is off for this process.
  package let watchdogInterval: Duration?

  /// Reads the environment that the service manager set.
  package init() {
    // Each kind waits once, so the limit is never met.
    outbox =
      getenv("NOTIFY_SOCKET") == nil
      ? nil
      : Outbox("notify", limit: 16, replaces: { Self.kind($0) == Self.kind($1) }) { _ = sd_notify(0, $0) }
    var microseconds: UInt64 = 0
    watchdogInterval =
      sd_watchdog_enabled(0, &microseconds) > 0 ? .microseconds(Int64(clamping: microseconds)) : nil
  }

  package func ready() { notify("READY=1") }
  package func stopping() { notify("STOPPING=1") }
  package func alive() { notify("WATCHDOG=1") }

  /// One line for `systemctl status`.
  package func status(_ line: String) {
    notify("STATUS=" + line.map { $0.isNewline ? " " : $0 })
  }

  /// The service counts as reloading from now until the next `ready()`.
  package func reloading() {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    notify("RELOADING=1\nMONOTONIC_USEC=\(now.tv_sec * 1_000_000 + now.tv_nsec / 1_000)")
  }

  /// For the last words of a process; returns soon where nobody reads them.
  package func drain() { outbox?.drain(within: .milliseconds(200)) }

  private func notify(_ state: String) { outbox?.put(state) }

  private static func kind(_ state: String) -> Substring { state.prefix { $0 != "=" } }
}
