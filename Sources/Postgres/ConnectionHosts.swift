import CLibpq

// A connection string may name several hosts. libpq gives each of them `connect_timeout` only where it blocks; driven step by step, it
// waits for the first host that swallows packets until the caller's patience ends. So the hosts are tried one by one, each in its time.

extension ConnectionOptions {
  /// Parameters of one try: those of the options, with one of their hosts.
  struct Attempt: Sendable, Hashable {
    /// What is set for this host, after everything else.
    var overrides: [Override] = []

    struct Override: Sendable, Hashable {
      var key: String
      var value: String
    }

    subscript(key: String) -> String? { overrides.last { $0.key == key }?.value }
  }

  /// One try for each host, in the order in which the operator wrote them. With several hosts and no `target_session_attrs` of the
  /// operator's, each try takes the primary only: on the way to it a standby is passed.
  ///
  /// - Throws: a usage error if libpq cannot parse the connection string.
  func attempts() throws(PostgresError) -> [Attempt] {
    Self.attempts(given: try parsed(), defaults: Self.read(PQconndefaults()))
  }

  /// - Parameters:
  ///   - given: what the connection string sets.
  ///   - defaults: what the environment and libpq set.
  static func attempts(given: [String: String], defaults: [String: String]) -> [Attempt] {
    // A service may name hosts that only libpq reads.
    guard (given["service"] ?? defaults["service"] ?? "").isEmpty else { return [Attempt()] }
    func list(_ key: String) -> [String] {
      guard let text = given[key] ?? defaults[key], !text.isEmpty else { return [] }
      return text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    }
    let (names, addresses, ports) = (list("host"), list("hostaddr"), list("port"))
    let count = max(names.count, addresses.count)
    guard count > 1, names.isEmpty || addresses.isEmpty || names.count == addresses.count,
      ports.count <= 1 || ports.count == count
    else { return [Attempt()] }
    let wanted = given["target_session_attrs"] ?? defaults["target_session_attrs"].flatMap { $0 == "any" ? nil : $0 }
    // libpq asks all hosts for a standby before it takes any of them.
    let rounds = wanted == "prefer-standby" ? ["standby", "any"] : [wanted ?? "primary"]
    return rounds.flatMap { role in
      (0..<count).map { place in
        var attempt = Attempt()
        func set(_ key: String, _ values: [String]) {
          guard let value = values.count == 1 ? values.first : values.dropFirst(place).first else { return }
          attempt.overrides.append(Attempt.Override(key: key, value: value))
        }
        if !names.isEmpty { set("host", names) }
        if !addresses.isEmpty { set("hostaddr", addresses) }
        set("port", ports)
        attempt.overrides.append(Attempt.Override(key: "target_session_attrs", value: role))
        return attempt
      }
    }
  }
}

extension PostgresError {
  /// Why no host could be connected to: the only reason, or each host's.
  init(ofAttempts failures: [(attempt: ConnectionOptions.Attempt, error: PostgresError)]) {
    if let last = failures.last, failures.count == 1 || last.error.isCancelled {
      self = last.error
      return
    }
    let texts = failures.map { attempt, error in
      // libpq names the host, where it has an answer to tell of.
      let host = [attempt["host"] ?? attempt["hostaddr"], attempt["port"]].compactMap { $0 }.joined(separator: ":")
      return error.message.contains("connection to server") ? error.message : "\(host): \(error.message)"
    }
    self.init(.connection(texts.joined(separator: "; ")))
    refusal = failures.lazy.compactMap(\.error.refusal).first
  }
}
