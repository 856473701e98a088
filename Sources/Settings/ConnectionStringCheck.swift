import Rules

// libpq quotes the part of a connection string that it does not understand, and where the string is written wrongly that part may be the
// password. So a string is checked before anything shows it or connects with it, and what is wrong is said without its values.

/// What is wrong with a connection string.
enum ConnectionStringCheck {
  /// The keywords that libpq knows; a test compares them with those of the installed one.
  static let keywords: Set<String> = [
    "application_name", "channel_binding", "client_encoding", "connect_timeout", "dbname", "fallback_application_name",
    "gssdelegation", "gssencmode", "gsslib", "host", "hostaddr", "keepalives", "keepalives_count", "keepalives_idle",
    "keepalives_interval", "krbsrvname", "load_balance_hosts", "max_protocol_version", "min_protocol_version",
    "oauth_client_id", "oauth_client_secret", "oauth_issuer", "oauth_scope", "options", "passfile", "password", "port",
    "replication", "require_auth", "requirepeer", "requiressl", "scram_client_key", "scram_server_key", "service",
    "servicefile", "ssl_max_protocol_version", "ssl_min_protocol_version", "sslcert", "sslcertmode", "sslcompression",
    "sslcrl", "sslcrldir", "sslkey", "sslkeylogfile", "sslmode", "sslnegotiation", "sslpassword", "sslrootcert",
    "sslsni",
    "target_session_attrs", "tcp_user_timeout", "user",
  ]

  /// Why libpq would not understand the text, or not as it is meant; nil if it would.
  static func mismatch(_ text: String) -> Mismatch? {
    for scheme in ["postgresql://", "postgres://"] where text.hasPrefix(scheme) {
      return uri(text.dropFirst(scheme.count))
    }
    if text.prefixMatch(of: #/\s*[A-Za-z][A-Za-z0-9+.:\-]*:///#) != nil {
      return Mismatch(
        found: "a URI that begins otherwise",
        hint: "Begin with postgresql:// in lower case, and with nothing before it.")
    }
    // A text without "=" is the name of a database.
    guard text.contains("=") else { return nil }
    return pairs(Substring(text))
  }

  // MARK: URI

  private static func uri(_ rest: Substring) -> Mismatch? {
    let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
    let (authority, after) = (rest[..<end], rest[end...])
    if after.contains("@") { return escape("an \"@\" after a \"/\" or a \"?\"") }
    if authority.count(where: { $0 == "@" }) > 1 { return escape("more than one \"@\"") }
    let hosts = authority.lastIndex(of: "@").map { authority[authority.index(after: $0)...] } ?? authority
    for host in hosts.split(separator: ",") {
      let port = host.hasPrefix("[") ? host[(host.firstIndex(of: "]") ?? host.startIndex)...].dropFirst() : host
      if let colon = port.firstIndex(of: ":"), !port[colon...].dropFirst().allSatisfy(\.isNumber) {
        return escape("a port that is not a number")
      }
    }
    if rest.matches(of: #/%(?![0-9A-Fa-f]{2})|%00/#).isEmpty == false { return escape("an incomplete \"%\"") }
    let query = after.firstIndex(of: "?").map { after[after.index(after: $0)...] } ?? ""
    for pair in query.split(separator: "&") {
      let parts = pair.split(separator: "=", omittingEmptySubsequences: false)
      guard parts.count == 2 else { return escape("a parameter without one \"=\"") }
      let key = unescaped(parts[0])
      if key != "ssl", let unknown = unknown(key) { return unknown }
    }
    return nil
  }

  private static func escape(_ found: String) -> Mismatch {
    Mismatch(
      found: found,
      hint:
        "In a URI write %40 for @, %2F for /, %3F for ?, %3A for : and %25 for % in the user and the password; or put the password into password_file."
    )
  }

  private static func unescaped(_ text: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "%"), let code = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) {
        bytes.append(code)
        rest = rest.dropFirst(2)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  // MARK: Pairs

  private static func pairs(_ text: Substring) -> Mismatch? {
    var rest = text.drop(while: \.isWhitespace)
    while !rest.isEmpty {
      let key = rest.prefix { $0 != "=" && !$0.isWhitespace }
      rest = rest.dropFirst(key.count).drop(while: \.isWhitespace)
      guard rest.first == "=" else {
        return Mismatch(
          found: "a word without \"=\"", hint: "Write a value with blanks in quotes: password='two words'.")
      }
      if let unknown = unknown(String(key)) { return text.contains(";") ? otherNotation : unknown }
      rest = rest.dropFirst().drop(while: \.isWhitespace)
      let isQuoted = rest.first == "'"
      if isQuoted { rest = rest.dropFirst() }
      var value = ""
      while let next = rest.first, isQuoted ? next != "'" : !next.isWhitespace {
        rest = rest.dropFirst()
        if next == "\\", let escaped = rest.popFirst() { value.append(escaped) } else { value.append(next) }
      }
      if isQuoted, rest.popFirst() == nil {
        return Mismatch(found: "a quote that is not closed", hint: "Write \\' for a quote inside a quoted value.")
      }
      if !isQuoted, value.firstMatch(of: #/;\s*[A-Za-z ]+=/#) != nil { return otherNotation }
      rest = rest.drop(while: \.isWhitespace)
    }
    return nil
  }

  private static let otherNotation = Mismatch(
    found: "pairs with \";\" between them, as .NET has them",
    hint: "Write host=… port=… dbname=… user=… with blanks between them, or a URI.")

  /// - Parameter key: not a value, so it may be shown if it looks like a keyword.
  private static func unknown(_ key: String) -> Mismatch? {
    guard !keywords.contains(key) else { return nil }
    let isWord = key.count <= 30 && key.wholeMatch(of: #/[A-Za-z_]+/#) != nil
    return Mismatch(
      found: isWord ? "the unknown keyword \"\(key)\"" : "an unknown keyword",
      hint: (isWord ? nearestName(to: key.lowercased(), in: Array(keywords)) : nil).map { "did you mean \"\($0)\"?" }
        ?? "libpq's keywords are host, port, dbname, user, password and others, in lower case.")
  }
}
