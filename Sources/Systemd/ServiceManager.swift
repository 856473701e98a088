import CSystemd
import Glibc

/// Notifies systemd of the service's state by sd_notify(3). Without a service manager the calls do nothing.
package struct ServiceManager: Sendable {
  /// Whether a service manager is listening.
  package let isPresent: Bool
  /// How often the watchdog expects a notification; nil if it is off for this process.
  package let watchdogInterval: Duration?

  /// Reads the environment that the service manager set.
  package init() {
    isPresent = getenv("NOTIFY_SOCKET") != nil
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

  private func notify(_ state: String) {
    guard isPresent else { return }
    _ = sd_notify(0, state)
  }
}
