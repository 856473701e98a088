import CTidemarkPlugin
import Plugins
import Rules
import Synchronization
import Telemetry

/// The functions that the daemon offers to a library plugin: they record what the plugin reports during a call, and ignore reports at any
/// other time. Log entries are always taken.
///
/// A host is never freed, since a thread of the plugin may call it at any time, even after the plugin was closed. Each call of the plugin
/// gets a host of its own, so that a late report of a thread does not count for the next call.
final class LibraryHost: Sendable {
  /// The plugin's reports during one call.
  struct Said: Sendable {
    var failure: PluginFailure?
    var statements: [PluginStatement] = []
  }

  /// The number of hosts that calls use in turn. A report would have to be exactly this many calls late to count for another call.
  private static let turns = 256

  /// Read by the library: never freed, never changed.
  nonisolated(unsafe) private let hosts: UnsafeMutablePointer<tidemark_host>
  private let call = Mutex(Call())
  private let output = Mutex(OutputLimit())
  private let shard: ShardName
  private let observer: any Observer

  private struct Call {
    /// The host that the call was given.
    var turn = 0
    /// Nil between calls.
    var said: Said?
  }

  /// The target of a host's `context`.
  private struct Context {
    let host: Unmanaged<LibraryHost>
    let turn: Int
  }

  init(shard: ShardName, observer: any Observer) {
    self.shard = shard
    self.observer = observer
    hosts = .allocate(capacity: Self.turns)
    let contexts = UnsafeMutablePointer<Context>.allocate(capacity: Self.turns)
    let own = Unmanaged.passRetained(self)
    for turn in 0..<Self.turns {
      (contexts + turn).initialize(to: Context(host: own, turn: turn))
      (hosts + turn).initialize(
        to: tidemark_host(
          context: contexts + turn,
          log: { LibraryHost.from($0)?.host.say($1, $2) },
          sql: { if let (host, turn) = LibraryHost.from($0) { host.take(turn, $1, $2, $3) } },
          failed: { if let (host, turn) = LibraryHost.from($0) { host.fail(turn, $1, $2, $3) } }))
    }
  }

  /// Begins a call, and returns the host for it.
  func begin() -> UnsafePointer<tidemark_host> {
    let turn = call.withLock { call in
      call = Call(turn: (call.turn + 1) % Self.turns, said: Said())
      return call.turn
    }
    return UnsafePointer(hosts + turn)
  }

  func end() -> Said { call.withLock { $0.said.take() } ?? Said() }

  private static func from(_ context: UnsafeMutableRawPointer?) -> (host: LibraryHost, turn: Int)? {
    guard let context = context?.assumingMemoryBound(to: Context.self).pointee else { return nil }
    return (context.host.takeUnretainedValue(), context.turn)
  }

  /// Records a report of the current call.
  private func note(_ turn: Int, _ take: (inout Said) -> Void) {
    call.withLock { call in
      guard call.turn == turn, var said = call.said.take() else { return }
      take(&said)
      call.said = said
    }
  }

  private func say(_ level: tidemark_level, _ text: tidemark_text) {
    let levels = PluginLogLevel.allCases
    let known = levels.indices.contains(Int(level.rawValue)) ? levels[Int(level.rawValue)] : .info
    for part in OutputLimit.parts(of: text.string ?? "") { say(known, part) }
  }

  private func say(_ level: PluginLogLevel, _ text: String) {
    switch output.withLock({ $0.meet(at: .now) }) {
    case .drop: return
    case .passAfter(let dropped): observer.observe(.pluginLinesDropped(shard, count: dropped))
    case .pass: break
    }
    observer.observe(.pluginSaid(shard, level: LogLevel(level), text: text))
  }

  private func take(_ turn: Int, _ text: tidemark_text, _ values: UnsafePointer<tidemark_text>?, _ count: Int) {
    let values = values.map { values in (0..<count).map { values[$0].string } } ?? []
    let statement = PluginStatement(text: text.string ?? "", values: values)
    note(turn) { $0.statements.append(statement) }
  }

  /// Records the first failure of a call; later ones do not count.
  private func fail(_ turn: Int, _ sequence: Int64, _ kind: tidemark_class, _ message: tidemark_text) {
    let kinds: [PluginFailure.Kind] = [.event, .serialization, .unknown, .transient, .definition]
    let failure = PluginFailure(
      sequence: sequence, kind: kinds.indices.contains(Int(kind.rawValue)) ? kinds[Int(kind.rawValue)] : .event,
      message: message.string ?? "the plugin gave no reason")
    note(turn) { if $0.failure == nil { $0.failure = failure } }
  }
}

extension tidemark_text {
  fileprivate var string: String? {
    bytes.map { String(decoding: UnsafeRawBufferPointer(start: $0, count: length), as: UTF8.self) }
  }
}
