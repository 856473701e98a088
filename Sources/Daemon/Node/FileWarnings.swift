import Glibc
import PluginHost
package import Rules
package import Settings

/// Looks up who may read and write the files of the settings and of plugins; ``FileTrust`` judges. For the log of the start and of a reload,
/// and for `check`.
package enum FileWarnings {
  package static func all(_ settings: Settings) -> [Problem] {
    let trust = FileTrust(user: geteuid(), groups: trustedGroups)
    var found: [Problem] = []
    for file in settings.files + settings.projections.flatMap(programs) {
      for path in places(of: file.path) {
        // A file that is missing is reported where it is used.
        guard let facts = facts(of: path) else { continue }
        let folders = folders(above: path).compactMap(Self.facts)
        for problem in trust.objections(to: file, facts, in: folders) where !found.contains(problem) {
          found.append(problem)
        }
      }
    }
    return found
  }

  /// The plugin's program; and what may be its script, where that is an interpreter.
  private static func programs(_ projection: ProjectionDefinition) -> [NamedFile] {
    guard let plugin = projection.plugin, let path = plugin.programHere else { return [] }
    switch plugin.program {
    case .library: return [NamedFile(path, .library)]
    case .exec(let command):
      let script = command.dropFirst().first { !$0.hasPrefix("-") }.flatMap { $0.hasPrefix("/") ? $0 : nil }
      return [NamedFile(path, .program)] + (script.map { [NamedFile($0, .program)] } ?? [])
    }
  }

  /// The groups of this process, and the one that the service's unit would have.
  private static var trustedGroups: Set<UInt32> {
    var groups = [gid_t](repeating: 0, count: 256)
    let count = max(0, getgroups(Int32(groups.count), &groups))
    var trusted = Set(groups.prefix(Int(count)))
    trusted.insert(getegid())
    if let service = getgrnam("tidemark") { trusted.insert(service.pointee.gr_gid) }
    return trusted
  }

  /// The path from the root, and where it leads by symbolic links.
  private static func places(of path: String) -> [String] {
    var here = path
    if !here.hasPrefix("/"), let folder = getcwd(nil, 0) {
      here = String(cString: folder) + "/" + here
      free(folder)
    }
    here = "/" + here.split(separator: "/").filter { $0 != "." }.joined(separator: "/")
    guard let real = realpath(here, nil) else { return [here] }
    defer { free(real) }
    let target = String(cString: real)
    return target == here ? [here] : [here, target]
  }

  private static func folders(above path: String) -> [String] {
    var folders = ["/"]
    var folder = ""
    for part in path.split(separator: "/").dropLast() {
      folder += "/\(part)"
      folders.append(folder)
    }
    return folders
  }

  private static func facts(of path: String) -> FileFacts? {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    let owner = getpwuid(status.st_uid).map { String(cString: $0.pointee.pw_name) }
    let group = getgrgid(status.st_gid).map { String(cString: $0.pointee.gr_name) }
    return FileFacts(
      path: path, mode: status.st_mode & 0o7777, owner: .init(status.st_uid, owner ?? "\(status.st_uid)"),
      group: .init(status.st_gid, group ?? "\(status.st_gid)"))
  }
}
