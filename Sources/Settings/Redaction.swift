/// A value that is never shown.
package struct Secret: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  package let value: String

  package init(_ value: String) { self.value = value }

  package var description: String { "***" }
  package var debugDescription: String { "***" }
  package var customMirror: Mirror { Mirror(self, children: []) }
}

/// A libpq connection string, in either of libpq's notations, with its passwords replaced by `***`.
///
/// If the text is too malformed to find the passwords, all of it is replaced.
package func redacted(connectionString text: String) -> String {
  for scheme in ["postgresql://", "postgres://"] where text.hasPrefix(scheme) {
    return scheme + redactedURI(text.dropFirst(scheme.count))
  }
  return redactedPairs(text)
}

private let secretKeys: Set<String> = ["password", "sslpassword", "oauth_client_secret"]

private func redactedURI(_ rest: Substring) -> String {
  let queryStart = rest.firstIndex(of: "?") ?? rest.endIndex
  var authority = String(rest[..<queryStart])
  // The last "@" ends the user part: a password may contain an unescaped "@" by mistake.
  if let at = authority.lastIndex(of: "@"), let colon = authority[..<at].firstIndex(of: ":") {
    authority = authority[...colon] + "***" + authority[at...]
  }
  guard queryStart < rest.endIndex else { return authority }
  // An "@" after the first "?" may end a password that contains an unescaped "?".
  if rest[queryStart...].contains("@") { return "***" }
  let pairs = rest[rest.index(after: queryStart)...].split(separator: "&", omittingEmptySubsequences: false).map {
    pair in
    let key = pair.prefix { $0 != "=" }
    return secretKeys.contains(key.lowercased()) || key.contains("%") ? "\(key)=***" : String(pair)
  }
  return authority + "?" + pairs.joined(separator: "&")
}

/// `key = 'value' …`, with backslash escapes.
private func redactedPairs(_ text: String) -> String {
  var result = ""
  var rest = Substring(text)
  while !rest.isEmpty {
    let blank = rest.prefix { $0.isWhitespace }
    rest = rest.dropFirst(blank.count)
    let key = rest.prefix { $0 != "=" && !$0.isWhitespace }
    rest = rest.dropFirst(key.count)
    let equals = rest.prefix { $0.isWhitespace || $0 == "=" }
    rest = rest.dropFirst(equals.count)
    var value = Substring()
    if rest.first == "'" {
      var end = rest.index(after: rest.startIndex)
      while end < rest.endIndex, rest[end] != "'" {
        end = rest.index(end, offsetBy: rest[end] == "\\" ? 2 : 1, limitedBy: rest.endIndex) ?? rest.endIndex
      }
      value = end < rest.endIndex ? rest[...end] : rest
    } else {
      var end = rest.startIndex
      while end < rest.endIndex, !rest[end].isWhitespace {
        end = rest.index(end, offsetBy: rest[end] == "\\" ? 2 : 1, limitedBy: rest.endIndex) ?? rest.endIndex
      }
      value = rest[..<end]
    }
    rest = rest[value.endIndex...]
    result += blank + key + equals + (secretKeys.contains(key.lowercased()) ? "***" : value)
  }
  return result
}
