import Rules

/// Reads the projections of a file, and the files with their statements.
extension SettingsReader {
  mutating func readProjections(_ entries: [TOMLEntry], file: String) {
    guard let projections = entries.first(where: { $0.key == "projections" }) else { return }
    let tables = table(projections.value, "projections", file, expected: "tables [projections.NAME]")
    for entry in tables ?? [] { readProjection(entry, file: file) }
  }

  private mutating func readProjection(_ entry: TOMLEntry, file: String) {
    let path = "projections.\(entry.key)"
    guard let entries = table(entry.value, path, file) else { return }
    var declaration = ProjectionDeclaration(name: entry.key, file: file, place: entry.place)
    let problemsBefore = problems.count
    read(entries, keys: ProjectionDraft.keys, prefix: "", display: path + ".", file: file, into: &declaration.draft)
    if let message = ProjectionCheck.problem(withName: entry.key) {
      add(.value, location(entry.place, file), path, message)
    }
    if let other = settings.declarations.first(where: { $0.name == entry.key }) {
      add(
        .conflict, location(entry.place, file), path,
        "declared twice; the first declaration is at \(other.file):\(other.place.line)")
    }
    let hadProblems = problems.count > problemsBefore
    settings.declarations.append(declaration)
    var check = ProjectionCheck(declaration: declaration, path: path)
    let definition = check.definition { readText($0, path: path, $1, file: file) }
    // A key that is missing because its value was already reported as wrong is not reported again.
    problems += check.problems.filter { !hadProblems || $0.code != .settings(.missingKey) }
    if var definition {
      definition.conceal(written.concealment(under: path + "."))
      refuseSharedTables(definition, path)
      settings.projections.append(definition)
    }
  }

  /// A rebuild of one of two projections that fill a table would remove the rows of the other.
  private mutating func refuseSharedTables(_ definition: ProjectionDefinition, _ path: String) {
    for table in definition.tables {
      let name = TableName(table)
      guard
        let other = settings.projections.first(where: { $0.tables.contains { TableName($0) == name } })
      else { continue }
      add(
        .conflict, definition.source, "\(path).tables",
        "the projection \(other.name) declares the table \(table) too, at \(other.source.file):\(other.source.line)",
        hint: "Let one projection fill it, or give each a table of its own.")
    }
  }

  /// Reads the file that `sql_file` or `setup_file` names.
  private mutating func readText(_ reference: ProjectionDraft.Text, path: String, _ key: String, file: String)
    -> Statement?
  {
    let target = Self.resolve(reference.text, besides: file)
    switch files.read(target) {
    case .success(let bytes):
      guard let text = String(validating: bytes, as: UTF8.self) else {
        add(.unreadable, location(reference.place, file), "\(path).\(key)", "\(target) is not UTF-8 text")
        return nil
      }
      named.append(NamedFile(target, .statements))
      return Statement(text: text, source: SourceLocation(file: target, line: 1))
    case .failure(let problem):
      add(
        .unreadable, location(reference.place, file), "\(path).\(key)", "\(target) cannot be read: \(problem.message)")
      return nil
    }
  }
}
