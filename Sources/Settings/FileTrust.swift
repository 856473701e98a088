package import Rules

// A user who may write the settings decides what the daemon runs, and a password is one only where others cannot read it. This decides whose
// files and folders they are; `FileWarnings` looks them up.

/// A file that the settings name, or the settings themselves.
package struct NamedFile: Hashable, Sendable {
  package enum Kind: Hashable, Sendable {
    case settings, projections, folderOfProjections, statements, password, program, library

    var words: String {
      switch self {
      case .settings, .projections: "the settings file"
      case .folderOfProjections: "the folder"
      case .statements: "the file of statements"
      case .password: "the password file"
      case .program: "the plugin"
      case .library: "the library"
      }
    }
  }

  package var path: String
  package var kind: Kind
  package var holdsPassword: Bool

  package init(_ path: String, _ kind: Kind, holdsPassword: Bool = false) {
    self.path = path
    self.kind = kind
    self.holdsPassword = holdsPassword
  }
}

/// What stat(2) says of a file or a folder.
package struct FileFacts: Hashable, Sendable {
  package var path: String
  package var mode: UInt32
  package var owner: Account
  package var group: Account

  /// A user or a group.
  package struct Account: Hashable, Sendable {
    package var id: UInt32
    package var name: String

    package init(_ id: UInt32, _ name: String) {
      self.id = id
      self.name = name
    }
  }

  package init(path: String, mode: UInt32, owner: Account, group: Account) {
    self.path = path
    self.mode = mode
    self.owner = owner
    self.group = group
  }

  fileprivate var isSticky: Bool { mode & 0o1000 != 0 }
}

/// Which files others may read or write who should not, judged for the user that this process runs as.
package struct FileTrust: Sendable {
  /// The user of this process.
  let user: UInt32
  /// Groups that may read a password: root's, those of this process, and the service's.
  let groups: Set<UInt32>

  package init(user: UInt32, groups: Set<UInt32>) {
    self.user = user
    self.groups = groups.union([0])
  }

  /// - Parameters:
  ///   - facts: of the file itself.
  ///   - folders: those above it, the outermost first.
  package func objections(to file: NamedFile, _ facts: FileFacts, in folders: [FileFacts]) -> [Problem] {
    var found = [reading(file, facts, folders), writing(file, facts, folders)]
    for (index, folder) in folders.enumerated() {
      found.append(replacing(file, folder, above: Array(folders[..<index]), isOwn: index == folders.count - 1))
    }
    return found.compactMap { $0 }
  }

  // MARK: Reading

  private func reading(_ file: NamedFile, _ facts: FileFacts, _ folders: [FileFacts]) -> Problem? {
    guard file.holdsPassword else { return nil }
    var (who, flags): ([String], String) = ([], "")
    if facts.mode & 0o040 != 0, !groups.contains(facts.group.id),
      folders.allSatisfy({ passes($0, .group(facts.group)) })
    {
      who.append("group \(facts.group.name)")
      flags += "g"
    }
    if facts.mode & 0o004 != 0, folders.allSatisfy({ passes($0, .everyone) }) {
      who.append("every user")
      flags += "o"
    }
    guard !who.isEmpty else { return nil }
    let isSettings = file.kind != .password
    return Problem(
      "\(file.kind.words) \(facts.path) holds a password, and \(who.joined(separator: " and ")) may read it",
      hint: "Run: chmod \(flags)-r \(Self.word(facts.path))"
        + (isSettings
          ? ". The daemon's user must still be able to read it; or move the password to a file, and name that in password_file."
          : ". If the daemon's user cannot read it then, have LoadCredential= of the unit hand it over."))
  }

  // MARK: Writing

  private enum Writer {
    case everyone
    case group(FileFacts.Account)
    case owner(FileFacts.Account)

    var words: String {
      switch self {
      case .everyone: "every user"
      case .group(let group): "group \(group.name)"
      case .owner(let owner): "its owner \(owner.name)"
      }
    }

    func remedy(_ path: String) -> String {
      switch self {
      case .everyone: "chmod o-w \(FileTrust.word(path))"
      case .group: "chmod g-w \(FileTrust.word(path))"
      case .owner: "chown root \(FileTrust.word(path))"
      }
    }
  }

  /// Those who may write and should not. Where we are not root, a group or another owner may be meant to.
  private func writers(_ facts: FileFacts, countsOwner: Bool = true) -> [Writer] {
    var found: [Writer] = []
    if countsOwner, user == 0, facts.owner.id != 0 { found.append(.owner(facts.owner)) }
    if user == 0, facts.mode & 0o020 != 0, facts.group.id != 0 { found.append(.group(facts.group)) }
    if facts.mode & 0o002 != 0 { found.append(.everyone) }
    return found
  }

  private func writing(_ file: NamedFile, _ facts: FileFacts, _ folders: [FileFacts]) -> Problem? {
    let writers = writers(facts).filter { writer in folders.allSatisfy { passes($0, writer) } }
    guard !writers.isEmpty else { return nil }
    let who = writers.map(\.words).joined(separator: " and ")
    return Problem(
      "\(file.kind.words) \(facts.path) may be written by \(who), and decides what runs as \(daemon)",
      hint: "Run: \(writers.map { $0.remedy(facts.path) }.joined(separator: " && "))")
  }

  /// A folder in which others may put another file in the place of this one, or beside it where files are listed.
  private func replacing(_ file: NamedFile, _ folder: FileFacts, above: [FileFacts], isOwn: Bool) -> Problem? {
    // In a sticky folder others may only add files, which matters where projections.d is looked for.
    let isShared = folder.isSticky && folder.mode & 0o002 != 0
    guard !isShared || (isOwn && file.kind == .settings) else { return nil }
    // Who owns a folder was chosen when it was made; what its mode opens is often an accident.
    let writers = writers(folder, countsOwner: false).filter { writer in above.allSatisfy { passes($0, writer) } }
    guard !writers.isEmpty else { return nil }
    let who = writers.map(\.words).joined(separator: " and ")
    guard !isShared else {
      return Problem(
        "\(who) may put a folder projections.d beside the settings in \(folder.path), whose statements would run as \(daemon)",
        hint: "Move the settings to a folder in which nobody else may create files.")
    }
    return Problem(
      "the folder \(folder.path) may be written by \(who), who can so replace what runs as \(daemon)",
      hint: "Run: \(writers.map { $0.remedy(folder.path) }.joined(separator: " && "))")
  }

  private var daemon: String { user == 0 ? "root" : "this user" }

  /// Whether a folder lets them reach what is in it.
  private func passes(_ folder: FileFacts, _ writer: Writer) -> Bool {
    if folder.mode & 0o001 != 0 { return true }
    switch writer {
    case .everyone: return false
    case .group(let group): return folder.mode & 0o010 != 0 && folder.group.id == group.id
    // Any of the owner's groups may be that of the folder.
    case .owner(let owner): return folder.mode & 0o010 != 0 || (folder.mode & 0o100 != 0 && folder.owner.id == owner.id)
    }
  }

  /// A path as a word of a shell.
  private static func word(_ path: String) -> String {
    let isPlain = path.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "/"), UInt8(ascii: "."), UInt8(ascii: "_"),
        UInt8(ascii: "-"):
        true
      default: false
      }
    }
    return isPlain && !path.hasPrefix("-") ? path : "'\(path.replacing("'", with: #"'\''"#))'"
  }
}

/// Whether a connection string, as the file has it, holds a password of its own: one that is not `${NAME}`.
func holdsPassword(connectionString text: String) -> Bool {
  let own = text.replacing(#/\$\{[A-Za-z_][A-Za-z0-9_]*\}/#, with: "***").replacing("'***'", with: "***")
  return redacted(connectionString: own) != own
}
