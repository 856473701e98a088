import Settings

/// The files of a test.
func files(_ contents: [String: String]) -> SettingsFiles {
  SettingsFiles(
    read: { path in contents[path].map { .success(Array($0.utf8)) } ?? .failure(.init("No such file or directory")) },
    list: { path in
      let inside = contents.keys.filter { $0.hasPrefix(path + "/") }.map { String($0.dropFirst(path.count + 1)) }
      return .success(inside.isEmpty ? nil : inside)
    })
}

func parse(_ text: String, environment: [String: String] = [:], _ others: [String: String] = [:])
  throws(SettingsProblems) -> Settings
{
  try Settings.parse(text, file: "/etc/tidemark.toml", environment: environment, files: files(others))
}

/// The problems of a text, one per line.
func problems(_ text: String, environment: [String: String] = [:], _ others: [String: String] = [:]) -> [String] {
  do {
    _ = try parse(text, environment: environment, others)
    return []
  } catch {
    return error.lines
  }
}

let database = "[database]\nurl = \"postgresql:///shop\"\n"

/// A projection does not have the form that the test declared.
struct OtherForm: Error {}
