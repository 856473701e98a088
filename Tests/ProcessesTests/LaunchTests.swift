import Concurrency
import Glibc
import Processes
import Testing

@Suite struct `A child that is started` {
  @Test func `returns its output and how it exited`() async throws {
    let result = try await shell("echo out; echo err >&2; exit 7").run()
    #expect(result.termination == .exited(7) && result.output == "out\n" && result.error == "err\n")
    #expect("\(result.termination)" == "exited with status 7")
    let killed = try await shell("kill -KILL $$").run()
    #expect(killed.termination == .signaled(SIGKILL) && "\(killed.termination)" == "was killed by signal 9")
    #expect(try await Launch("true", output: .nothing, error: .nothing).run().termination.isSuccess)
  }

  /// A child must not keep a pipe of another child open, nor the daemon's session with the database.
  @Test func `has three streams and no other open descriptor`() async throws {
    // Open them without FD_CLOEXEC, as a library might.
    let open = try (0..<20).map { _ in
      let file = Glibc.open("/dev/null", O_RDONLY)
      try #require(file >= 0)
      return file
    }
    defer { for file in open { close(file) } }
    // `ls` opens the directory itself.
    let result = try await Launch("ls", ["/proc/self/fd"]).run()
    #expect(result.output == "0\n1\n2\n3\n", "\(result)")
  }

  @Test func `gets every signal, regardless of signals blocked or ignored here`() async throws {
    let before = signal(SIGHUP, SIG_IGN)
    defer { signal(SIGHUP, before) }
    var (signals, mask) = (sigset_t(), sigset_t())
    sigemptyset(&signals)
    for number in [SIGTERM, SIGCHLD, SIGUSR1] { sigaddset(&signals, number) }
    pthread_sigmask(SIG_BLOCK, &signals, &mask)
    let child = try await Launch("cat", ["/proc/self/status"]).start()
    pthread_sigmask(SIG_SETMASK, &mask, nil)
    let status = try await child.collect(limit: 1 << 16).output
    for name in ["SigBlk", "SigCgt"] { #expect(Proc.field(name, in: status) == "0000000000000000", "\(status)") }
    // Except the two that glibc reserves, which a program can neither block nor handle.
    let ignored = try #require(Proc.field("SigIgn", in: status).flatMap { UInt64($0, radix: 16) })
    #expect(ignored & ~(0b11 << 31) == 0, "\(status)")
  }

  @Test func `leads its own process group`() async throws {
    let child = try await shell("sleep 60").start()
    #expect(Proc.group(child.pid) == child.pid && getpgrp() != child.pid)
    #expect(await child.kill() == .signaled(SIGKILL))
  }

  @Test func `leads a session on its own terminal if told to`() async throws {
    let terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)
    defer { close(terminal) }
    // TIOCSPTLCK and TIOCGPTN, which Glibc's module does not import.
    var (number, isLocked): (Int32, Int32) = (0, 0)
    try #require(ioctl(terminal, 0x4004_5431, &isLocked) == 0 && ioctl(terminal, 0x8004_5430, &number) == 0)
    var launch = shell("tty; ps -o sid= -p $$; read line")
    launch.terminal = "/dev/pts/\(number)"
    let child = try await launch.start()
    #expect(child.input == nil && child.output == nil && getsid(child.pid) == child.pid)
    var (said, buffer) = ("", [UInt8](repeating: 0, count: 256))
    while said.split(whereSeparator: \.isNewline).count < 2 {
      try await Readiness.shared.readable(terminal)
      let count = read(terminal, &buffer, buffer.count)
      try #require(count > 0)
      said += String(decoding: buffer[..<count], as: UTF8.self)
    }
    #expect(said.contains(launch.terminal!) && said.contains("\(child.pid)"), "\(said)")
    // As Ctrl-C does.
    _ = write(terminal, "\u{3}", 1)
    #expect(await child.waitForEnd() == .signaled(SIGINT))
  }

  @Test func `has our environment with changes, or its own`() async throws {
    setenv("CHILD_TEST_KEPT", "a=b", 1)
    setenv("CHILD_TEST_LOST", "x", 1)
    var launch = Launch("env", environment: .inherited(["CHILD_TEST_LOST": nil, "CHILD_TEST_NEW": "y\nz"]))
    let output = try await launch.run().output
    #expect(output.contains("CHILD_TEST_KEPT=a=b\n") && output.contains("CHILD_TEST_NEW=y\nz\n"))
    #expect(!output.contains("CHILD_TEST_LOST"))
    launch.environment = .only(["A": "1"])
    #expect(try await launch.run().output == "A=1\n")
  }

  @Test func `is looked up in the PATH of its environment`() async throws {
    let scratch = try Scratch()
    try scratch.file("tool", "#!/bin/sh\necho \"here $1\"\n")
    try scratch.file("env", "not executable", mode: 0o644)
    let here = Launch("tool", ["x"], environment: .inherited(["PATH": "relative::\(scratch.directory):/usr/bin:/bin"]))
    #expect(try await here.run().output == "here x\n")
    // The search skips entries of that name that cannot be run, and uses our own PATH if the child has none.
    #expect(try await Launch("env", environment: here.environment).run().termination.isSuccess)
    #expect(try await Launch("env", environment: .only([:])).run().output == "")
    // The choice of program must not depend on the working directory.
    let relative = Launch("tool", environment: .inherited(["PATH": ":.:"]), directory: scratch.directory)
    await #expect(throws: StartProblem.self) { try await relative.run() }
  }

  @Test func `runs in the given directory, from which its own relative path starts too`() async throws {
    let scratch = try Scratch()
    try scratch.file("tool", "#!/bin/sh\npwd\n")
    #expect(try await Launch("./tool", directory: scratch.directory).run().output == "\(scratch.directory)\n")
  }

  @Test func `gets open files as its streams, which stay open here`() async throws {
    let scratch = try Scratch()
    try scratch.file("in", "words\n", mode: 0o644)
    let (input, output) = (
      open(scratch.path("in"), O_RDONLY | O_CLOEXEC), open(scratch.path("out"), O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
    )
    let result = try await Launch(
      "sh", ["-c", "cat; echo err >&2"], input: .descriptor(input), output: .descriptor(output),
      error: .descriptor(output)
    ).run()
    #expect(result.termination.isSuccess && scratch.contents("out") == "words\nerr\n")
    #expect(close(input) == 0 && close(output) == 0)
  }

  @Test func `from a file that is still open for writing is retried`() async throws {
    let scratch = try Scratch()
    let path = try scratch.file("tool", "#!/bin/sh\necho ran\n")
    let writing = open(path, O_WRONLY | O_CLOEXEC)
    async let result = Launch(path).run()
    try await Task.sleep(for: .milliseconds(20))
    close(writing)
    #expect(try await result.output == "ran\n")
  }
}
