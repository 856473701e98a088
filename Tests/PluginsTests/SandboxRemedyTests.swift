import Plugins
import Testing

@Suite struct `A plugin that the sandbox ends` {
  @Test(
    arguments: [
      (31, nil, "SystemCallFilter=NAME"), (5, nil, "MemoryDenyWriteExecute=no"),
      (nil, "Error occurred during initialization: could not allocate code cache", "MemoryDenyWriteExecute=no"),
      (nil, "Failed to create CoreCLR, HRESULT: 0x80070008", "MemoryDenyWriteExecute=no"),
      (nil, "OSError: [Errno 30] Read-only file system: '/var/log/x'", "StateDirectory="),
      (nil, "connect: Operation not permitted", "IPAddressAllow="),
      (nil, "connect: Network is unreachable", "IPAddressAllow="),
      (9, nil, "MemoryMax="),
      // These do not point there.
      (9, "told to stop", nil), (15, nil, nil), (nil, "KeyError: 'n'", nil), (nil, nil, nil),
    ] as [(Int32?, String?, String?)])
  func `names the line of the unit`(signal: Int32?, lastWords: String?, line: String?) {
    let remedy = SandboxRemedy.of(signal: signal, lastWords: lastWords)
    guard let line else {
      #expect(remedy == nil)
      return
    }
    #expect(remedy?.contains(line) ?? false && remedy!.contains("systemctl edit tidemark"), "\(remedy ?? "")")
  }
}
