import Glibc

import Testing

@testable import Processes

@Suite struct `A child that cannot be started` {
  private func fails(
    _ launch: Launch, _ reason: String, _ code: Int32, sourceLocation: SourceLocation = #_sourceLocation
  ) async {
    await #expect(
      throws: StartProblem(program: launch.program, reason: reason, code: code), sourceLocation: sourceLocation
    ) { try await launch.run() }
  }

  @Test func `reports whether the program, its directory or its interpreter is missing`() async throws {
    let scratch = try Scratch()
    await fails(Launch(scratch.path("none")), "there is no such file", ENOENT)
    await fails(Launch("no-such-program"), "no directory in PATH has a program of this name", ENOENT)
    await fails(
      Launch("true", directory: scratch.path("none")), "there is no directory \(scratch.path("none"))", ENOENT)
    let script = try scratch.file("script", "#! /no/interpreter -x\n")
    await fails(Launch(script), "there is no /no/interpreter, which its first line names", ENOENT)
    await fails(
      Launch("./script", directory: scratch.directory),
      "there is no /no/interpreter, which its first line names", ENOENT)
    await fails(Launch("\(script)/below"), "Not a directory", ENOTDIR)
    #expect(
      "\(StartProblem(program: "/x", reason: "there is no such file", code: ENOENT))"
        == "/x cannot be run: there is no such file")
  }

  @Test func `reports a file that is not executable`() async throws {
    let scratch = try Scratch()
    await fails(Launch(try scratch.file("text", "x", mode: 0o644)), "it is not executable", EACCES)
    await fails(Launch(scratch.directory), "it is not executable", EACCES)
    let script = try scratch.file("script", "#!\(scratch.path("text"))\n")
    await fails(Launch(script), "\(scratch.path("text")), which its first line names, is not executable", EACCES)
  }

  /// Opening a FIFO to read it would wait for a writer without end.
  @Test func `reports a path that is not a regular file, without waiting`() async throws {
    let scratch = try Scratch()
    let pipe = scratch.path("pipe")
    #expect(mkfifo(pipe, 0o755) == 0 && chmod(pipe, 0o755) == 0)
    await fails(Launch(pipe), "it is not a regular file", EACCES)
    let script = try scratch.file("dos", "#!/bin/sh\r\necho x\r\n")
    await fails(Launch(script), "its first line ends with a carriage return; save it with Unix line endings", ENOENT)
  }

  @Test func `reports a file that is not a program`() async throws {
    let scratch = try Scratch()
    let reason = "it is not a program for this system; a script must begin with a line such as #!/bin/sh"
    await fails(Launch(try scratch.file("text", "echo words\n")), reason, ENOEXEC)
    await fails(Launch(try scratch.file("empty", "")), reason, ENOEXEC)
    let foreign = try scratch.file("loader", "")
    // A program whose loader is missing: replace its name in the file by one of the same length.
    let made = try await shell(
      "sed 's|/lib64/ld-linux-x86-64|/lib64/no-linux-x86-64|; s|/lib/ld-linux-aarch64|/lib/no-linux-aarch64|' /bin/true > \(foreign)"
    ).run()
    try #require(made.termination.isSuccess)
    await fails(Launch(foreign), "the loader it needs is missing; it may be built for another system", ENOENT)
  }

  @Test func `reports arguments that are too long or contain NUL`() async throws {
    await fails(
      Launch("true", [String(repeating: "x", count: 1 << 20)]), "its arguments and its environment are too long", E2BIG)
    await fails(
      Launch("true", ["a\u{0}b"]),
      "a word of its command or its environment contains a NUL byte, or it is not a program for this system", EINVAL)
  }

  @Test func `reports a file that is open for writing`() async throws {
    let scratch = try Scratch()
    let path = try scratch.file("tool", "#!/bin/sh\n")
    let writing = open(path, O_WRONLY | O_CLOEXEC)
    defer { close(writing) }
    await fails(Launch(path), "another process has it open for writing", ETXTBSY)
  }

  @Test func `is given up if its task is cancelled between two attempts`() async throws {
    let scratch = try Scratch()
    let path = try scratch.file("tool", "#!/bin/sh\n")
    let writing = open(path, O_WRONLY | O_CLOEXEC)
    defer { close(writing) }
    let task = Task { try await Launch(path).run() }
    try await Task.sleep(for: .milliseconds(10))
    task.cancel()
    await #expect(throws: CancellationError.self) { try await task.value }
  }

  @Test func `leaves no descriptor behind`() async throws {
    let before = Proc.names("/proc/self/fd").count
    for _ in 0..<300 { _ = try? await Launch("/no/such/program", input: .pipe).start() }
    // Other tests open some meanwhile and close them again.
    try await eventually("they are closed") { Proc.names("/proc/self/fd").count < before + 150 }
  }
}
