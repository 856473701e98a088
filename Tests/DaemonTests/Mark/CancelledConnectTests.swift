import Books
import EventStore
import Glibc
import Postgres
import Settings
import Telemetry
import TestSupport
import Testing

@testable import Daemon

/// A stop in the middle of connecting is no failure.
@Suite(.gated) struct `An agent that is stopped while it connects` {
  /// Takes a connection, and never says a word.
  private final class SilentServer: Sendable {
    let port: Int
    private let listener: Int32

    init() throws {
      listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
      var size = socklen_t(MemoryLayout<sockaddr_in>.size)
      let listener = listener
      let status = withUnsafeMutablePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          bind(listener, $0, size) == 0 && listen(listener, 8) == 0 ? getsockname(listener, $0, &size) : -1
        }
      }
      try #require(status == 0)
      port = Int(UInt16(bigEndian: address.sin_port))
    }

    deinit { close(listener) }

    /// Nil while nobody calls.
    func call() -> Int32? {
      let caller = accept(listener, nil, nil)
      return caller >= 0 ? caller : nil
    }
  }

  private static let settings = try! Settings.parse(
    "database.url = \"dbname=none\"", files: SettingsFiles(read: { .failure(.init("there is no \($0)")) })
  ).eventStore

  /// What is told when the agent is cancelled in the middle of its first connection.
  private func observed(
    _ run: @escaping @Sendable (ConnectionOptions, ObservationRecorder) async throws -> Void
  ) async throws -> [Observation] {
    let server = try SilentServer()
    let recorder = ObservationRecorder()
    let options = ConnectionOptions(
      conninfo: "host=127.0.0.1 port=\(server.port) dbname=none user=nobody sslmode=disable")
    let running = Task { try await run(options, recorder) }
    var caller: Int32?
    try await eventually("it connects") {
      caller = server.call()
      return caller != nil
    }
    running.cancel()
    _ = await running.result
    if let caller { close(caller) }
    return recorder.all
  }

  @Test func `for the high-water mark tells no failure`() async throws {
    let told = try await observed { options, recorder in
      try await HighWaterAgent(
        shape: StoreShape.new(schema: "public", streamIDType: "uuid"), schema: .current, options: options,
        settings: Self.settings,
        board: MarkBoard(), pulse: Pulse(), troubles: TroubleBoard(recorder), observer: recorder
      ).run()
    }
    #expect(told.isEmpty, "\(told)")
  }

  @Test func `for late arrivals tells no failure`() async throws {
    let told = try await observed { options, recorder in
      try await LateArrivalAgent(
        shape: StoreShape.new(schema: "public", streamIDType: "uuid"), settings: Self.settings,
        pool: SessionPool(options, limit: 1, name: "test"), marks: MarkBoard(), takers: { [] }, node: "test",
        troubles: TroubleBoard(recorder), observer: recorder
      ).run()
    }
    #expect(told.isEmpty, "\(told)")
  }
}
