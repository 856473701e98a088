import Foundation
import Plugins
import Rules
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import PluginHost

/// A plugin without a shard around it: its child, and the conversation with it.
@Suite(.gated) struct `The child of a plugin` {
  /// What may end, or not.
  private final class Ending: Sendable {
    private let value = Mutex<String?>(nil)
    var isOver: Bool { text != nil }
    var text: String? { value.withLock { $0 } }
    func tell(_ text: String) { value.withLock { $0 = text } }
  }

  @Test(arguments: ["", "/usr/bin/setsid"])
  func `ends in time though one of its own floods its errors, in its group or away from it`(away: String) async throws {
    let programs = try PluginPrograms()
    let path = try programs.program(
      """
      #!/bin/sh
      \(away) /bin/sh -c "trap '' TERM; echo \\$\\$ > \(programs.path("flood")); exec yes >&2" &
      exec cat > /dev/null
      """)
    let (child, ending) = (ChildProcess(PluginDefinition(program: .exec([path]))), Ending())
    let running = Task {
      let outcome = await child.run { _ in }
      ending.tell("\(outcome)")
    }
    try await eventually("it floods") { !programs.lines("flood").isEmpty }
    await child.end(.closing(patience: PluginPatience.afterClose))
    let flood = try #require(pid_t(programs.lines("flood")[0]))
    defer {
      running.cancel()
      kill(flood, SIGKILL)
    }
    try await eventually(within: .seconds(3), "it is over") { ending.isOver }
    #expect(ending.text == "ended(Optional(exited with status 0))")
  }

  @Test func `is written to no more when its input is closed, also in the middle of a page`() async throws {
    let programs = try PluginPrograms()
    let path = try programs.program("#!/bin/sh\ntouch \(programs.path("runs"))\nexec sleep 60\n")
    let (child, ending, writing) = (ChildProcess(PluginDefinition(program: .exec([path]))), Ending(), Ending())
    let running = Task {
      let outcome = await child.run { event in
        guard case .started = event else { return }
        Task { writing.tell("\(await child.write([UInt8](repeating: 0, count: 10 << 20)))") }
      }
      ending.tell("\(outcome)")
    }
    defer { running.cancel() }
    try await eventually("it runs") { FileManager.default.fileExists(atPath: programs.path("runs")) }
    #expect(!writing.isOver)
    await child.end(.closing(patience: PluginPatience.afterClose))
    try await eventually("it is over") { ending.isOver }
    #expect(writing.text == "false" && ending.text == "ended(Optional(was killed by signal 15))")
    #expect(await child.write([0]) == false)
  }

  private func conversation(_ text: String, in programs: PluginPrograms, timeout: Duration) throws -> (
    ExecPlugin, ObservationRecorder
  ) {
    let recorder = ObservationRecorder()
    let definition = PluginDefinition(program: .exec([try programs.program(text)]), timeout: timeout)
    return (ExecPlugin(shard: ShardName(projection: "Plug"), plugin: definition, observer: recorder), recorder)
  }

  /// Writes garbage at first, again where it was ended before it could, and takes two seconds to end, as it has to be killed. Later it keeps its output open while it reads:
  /// `cat > /dev/null` would close it, which is a failure of its own.
  private func stubborn(_ programs: PluginPrograms) -> String {
    """
    #!/bin/sh
    read -r hello
    if [ ! -e \(programs.path("wrote")) ]; then
      trap '' TERM; echo "$hello" > \(programs.path("hello")); echo garbage; : > \(programs.path("wrote"))
      while :; do sleep 0.1; done
    fi
    echo "$hello" >> \(programs.path("hello"))
    echo '{"ready":{"protocol":1}}'
    while read -r line; do :; done
    """
  }

  /// The child may take longer than its timeout to write its garbage, on a busy machine.
  private func untilGarbage(of plugin: ExecPlugin) async throws {
    try await eventually("it writes garbage") {
      do {
        try await plugin.prepare(position: 1)
      } catch let problem as Problem {
        return problem.code == .plugin(.garbage)
      }
      return false
    }
  }

  @Test func `that takes its time to end is followed by one that is greeted with the position of the last who asked`()
    async throws
  {
    let programs = try PluginPrograms()
    let (plugin, recorder) = try conversation(stubborn(programs), in: programs, timeout: .milliseconds(500))
    let running = Task { try await plugin.run() }
    defer { running.cancel() }
    try await untilGarbage(of: plugin)
    let lost = recorder.all.count { $0.fact == .pluginLost }
    // Two that come too early are not waited for any longer, and nobody waits when the next is ready.
    for position: Int64 in [2, 3] {
      await #expect(throws: Problem.silent(.milliseconds(500), didNot: "report ready")) {
        try await plugin.prepare(position: position)
      }
    }
    try await eventually("the next is greeted") { programs.lines("hello").count == 2 }
    try await plugin.prepare(position: 4)
    #expect(programs.lines("hello").map { $0.contains("\"position\":3") } == [false, true])
    #expect(recorder.all.count { $0.fact == .pluginLost } == lost)
    await plugin.end()
    try await running.value
  }

  @Test(arguments: [true, false])
  func `that was to come after another does not come once the plugin stands down, or is ended`(ends: Bool) async throws
  {
    let programs = try PluginPrograms()
    let (plugin, _) = try conversation(stubborn(programs), in: programs, timeout: .milliseconds(500))
    let ending = Ending()
    let running = Task {
      try await plugin.run()
      ending.tell("")
    }
    defer { running.cancel() }
    try await untilGarbage(of: plugin)
    await #expect(throws: Problem.self) { try await plugin.prepare(position: 2) }
    if !ends {
      await plugin.standDown()
      try await eventually("the next is greeted") { (try? await plugin.prepare(position: 7)) != nil }
    }
    await plugin.end()
    try await eventually(within: .seconds(3), "nothing runs any more") { ending.isOver }
    #expect(programs.lines("hello").map { $0.contains("\"position\":7") } == (ends ? [false] : [false, true]))
  }
}
