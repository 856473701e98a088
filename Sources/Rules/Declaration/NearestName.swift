/// The name among `names` that `word` was most likely meant to be, for an error's hint; nil if none is near.
///
/// Near means: at most one edit for every three letters, ignoring case. An edit is a letter inserted, deleted, replaced,
/// or swapped with its neighbour. Of names equally near the first wins.
package func nearestName(to word: String, in names: some Sequence<String>) -> String? {
  let word = Array(word.lowercased())
  var nearest: (name: String, edits: Int)?
  for name in names {
    let other = Array(name.lowercased())
    let limit = max(1, max(word.count, other.count) / 3)
    guard abs(word.count - other.count) <= limit else { continue }
    let edits = editDistance(word, other)
    if edits <= limit, edits < nearest?.edits ?? .max { nearest = (name, edits) }
  }
  return nearest?.name
}

/// Damerau–Levenshtein distance, without editing a swapped pair again.
private func editDistance(_ a: [Character], _ b: [Character]) -> Int {
  guard !a.isEmpty, !b.isEmpty else { return max(a.count, b.count) }
  var beforeLast: [Int] = []
  var last = Array(0...b.count)
  for i in 1...a.count {
    var row = [i]
    for j in 1...b.count {
      var edits = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1))
      if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] { edits = min(edits, beforeLast[j - 2] + 1) }
      row.append(edits)
    }
    (beforeLast, last) = (last, row)
  }
  return last[b.count]
}
