import CTidemarkPlugin
import Plugins
import Rules
import Synchronization
import Telemetry

/// What the daemon does for a library plugin: takes down what it says during a call, and ignores what it says at any other time.
///
/// It is never freed, as a thread of the plugin's may call at any time, even after the plugin was closed. Each call of the plugin is given a
/// host of its own, so that what a thread says too late is not taken for a word of the next call.
final class LibraryHost: Sendable {
  /// What was said during one call.
  struct Said: Sendable {
    var failure: PluginFailure?
    var statements: [PluginStatement] = []
  }

  /// The calls take turns with so many hosts. A word would have to come exactly so many calls late to be taken for another's.
  private static let turns = 256

  /// For the library: valid for ever, and never changed.
  nonisolated(unsafe) private let hosts: UnsafeMutablePointer<tidemark_host>
  private let call = Mutex(Call())
  private let output = Mutex(OutputLimit())
  private let shard: ShardName
  private let observer: any Observer

  private struct Call {
    /// Whose host it was given.
    var turn = 0
    /// Nil when nobody is called.
    var said: Said?
  }

  /// What a host's `context` points at.
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

  /// Begins a call, and returns the host it is given.
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

  /// Takes down a word of the call that is under way.
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

  /// The first word counts: what comes after a failure is not done any more.
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
