/// A plugin of Tidemark, written in Swift and built as a dynamic library:
///
/// ```swift
/// import TidemarkPlugin
///
/// final class Search: Plugin {
///   init(_ opening: Opening) throws { … }
///   func apply(_ page: Page) throws {
///     for event in page where event.type == "travel" { … }
///   }
/// }
///
/// @_cdecl("tidemark_plugin_main")
/// public func main() -> UnsafeRawPointer { export(Search.self) }
/// ```
///
/// One is made for each shard. Its calls come one at a time, from one thread.
public protocol Plugin: AnyObject, SendableMetatype {
  /// Makes it ready for pages. An error refuses: its shard stops and says why.
  init(_ opening: Opening) throws

  /// Does what the page's events ask for. Returning says that all of it is done.
  ///
  /// - Throws: ``EventFailed`` for an event that failed, with everything before it done; any other error has the page tried again.
  func apply(_ page: Page) throws
}

/// What a plugin is opened with.
public struct Opening {
  /// The setting `config`.
  public let config: String
  /// The shard's name, like `Search:All`.
  public let shard: String
  /// The name of the database in the settings; `main` where there is only one.
  public let database: String
  /// `continuous` or `rebuild`.
  public let mode: String
  /// The last sequence that is applied: the first page is of events after it.
  public let position: Int64
  /// For what it has to say, at any time.
  public let log: Log
}

/// One event of a page failed; everything before it is done.
public struct EventFailed: Error {
  public enum Kind: UInt32, Sendable {
    /// It becomes a dead letter, unless the settings say otherwise.
    case event = 0
    /// The same, because its data does not have the form that is expected.
    case serialization = 1
    /// Of a type that the plugin does not know.
    case unknown = 2
    /// It may work a moment later.
    case transient = 3
    /// No event can work.
    case definition = 4
  }

  /// Of the event in the page that failed.
  public var sequence: Int64
  public var kind: Kind
  public var message: String

  public init(_ sequence: Int64, _ kind: Kind = .event, _ message: String) {
    self.sequence = sequence
    self.kind = kind
    self.message = message
  }
}

#if compiler(<6.2)
  /// Before Swift 6.2 every type is one.
  public typealias SendableMetatype = Any
#endif
