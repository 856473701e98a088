import CTidemarkPlugin
import Plugins
import Projection
import Synchronization
import Telemetry

/// What the daemon does for a library plugin: takes down what it says during a call, and ignores what it says at any other time.
///
/// It is never freed, as a thread of the plugin's may call at any time, even after the plugin was closed.
final class LibraryHost: Sendable {
  /// What was said during one call.
  struct Said: Sendable {
    var failure: PluginFailure?
    var statements: [PluginStatement] = []
  }

  /// For the library; valid for ever.
  nonisolated(unsafe) let pointer: UnsafePointer<tidemark_host>
  private let said = Mutex<Said?>(nil)
  private let output = Mutex(OutputLimit())
  private let shard: ShardName
  private let observer: any Observer

  init(shard: ShardName, observer: any Observer) {
    self.shard = shard
    self.observer = observer
    let host = UnsafeMutablePointer<tidemark_host>.allocate(capacity: 1)
    pointer = UnsafePointer(host)
    host.initialize(
      to: tidemark_host(
        context: Unmanaged.passRetained(self).toOpaque(),
        log: { LibraryHost.from($0)?.say($1, $2) },
        sql: { LibraryHost.from($0)?.take($1, $2, $3) },
        failed: { LibraryHost.from($0)?.fail($1, $2, $3) }))
  }

  func begin() { said.withLock { $0 = Said() } }

  func end() -> Said { said.withLock { $0.take() } ?? Said() }

  private static func from(_ context: UnsafeMutableRawPointer?) -> LibraryHost? {
    context.map { Unmanaged<LibraryHost>.fromOpaque($0).takeUnretainedValue() }
  }

  private func say(_ level: tidemark_level, _ text: tidemark_text) {
    switch output.withLock({ $0.meet(at: .now) }) {
    case .drop: return
    case .passAfter(let dropped): observer.observe(.pluginLinesDropped(shard, count: dropped))
    case .pass: break
    }
    let levels = PluginLogLevel.allCases
    let known = levels.indices.contains(Int(level.rawValue)) ? levels[Int(level.rawValue)] : .info
    observer.observe(.pluginSaid(shard, level: known.rawValue, text: text.string ?? ""))
  }

  private func take(_ text: tidemark_text, _ values: UnsafePointer<tidemark_text>?, _ count: Int) {
    let values = values.map { values in (0..<count).map { values[$0].string } } ?? []
    let statement = PluginStatement(text: text.string ?? "", values: values)
    said.withLock { $0?.statements.append(statement) }
  }

  /// The first word counts: what comes after a failure is not done any more.
  private func fail(_ sequence: Int64, _ kind: tidemark_class, _ message: tidemark_text) {
    let kinds: [PluginFailure.Kind] = [.event, .serialization, .unknown, .transient, .definition]
    let failure = PluginFailure(
      sequence: sequence, kind: kinds.indices.contains(Int(kind.rawValue)) ? kinds[Int(kind.rawValue)] : .event,
      message: message.string ?? "the plugin gave no reason")
    said.withLock { if $0?.failure == nil { $0?.failure = failure } }
  }
}

extension tidemark_text {
  fileprivate var string: String? {
    bytes.map { String(decoding: UnsafeRawBufferPointer(start: $0, count: length), as: UTF8.self) }
  }
}
