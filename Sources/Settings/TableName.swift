/// The name of a table as an operator writes it, cut as PostgreSQL cuts it: `Trip` is `trip`, and `"Trip"` is not.
///
/// Two that are equal name one table, whatever the search path is. A name with its schema may also be a name without one; only the database
/// tells that.
struct TableName: Hashable {
  /// The name, after its schema if it has one.
  let parts: [String]

  init(_ text: String) {
    var parts = [""]
    var isQuoted = false
    var rest = text[...]
    while let character = rest.popFirst() {
      switch character {
      case "\"" where isQuoted && rest.first == "\"":
        rest.removeFirst()
        parts[parts.count - 1].append("\"")
      case "\"": isQuoted.toggle()
      case "." where !isQuoted: parts.append("")
      default: parts[parts.count - 1] += isQuoted ? String(character) : character.lowercased()
      }
    }
    self.parts = parts
  }
}
