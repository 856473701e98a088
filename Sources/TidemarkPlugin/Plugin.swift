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
/// The daemon makes one instance for each shard, and calls it from one thread, one call at a time.
public protocol Plugin: AnyObject, SendableMetatype {
  /// Gets the plugin ready for pages. If it throws, the plugin refuses to run: its shard stops and reports the error.
  init(_ opening: Opening) throws

  /// Applies the page's events. Returning means that all of them are applied.
  ///
  /// - Throws: ``EventFailed`` if one event failed and all events before it are applied; after any other error the page
  ///   is tried again.
  func apply(_ page: Page) throws
}

/// The arguments for opening a plugin.
public struct Opening {
  /// The setting `config`.
  public let config: String
  /// The shard's name, like `Search:All`.
  public let shard: String
  /// The name of the database in the settings; `main` if there is only one.
  public let database: String
  /// `continuous` or `rebuild`.
  public let mode: String
  /// The last sequence applied; the first page begins after it.
  public let position: Int64
  /// The daemon's log, usable at any time.
  public let log: Log
}

/// One event of a page failed; all events before it are applied.
public struct EventFailed: Error {
  public enum Kind: UInt32, Sendable {
    /// The event is at fault: it becomes a dead letter, unless the settings say otherwise.
    case event = 0
    /// The same, because its data does not have the expected form.
    case serialization = 1
    /// The plugin does not know the event's type.
    case unknown = 2
    /// The failure may pass; the page is tried again.
    case transient = 3
    /// No event can succeed; the shard stops.
    case definition = 4
  }

  /// The sequence of the event that failed.
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
  /// Before Swift 6.2 every type has a sendable metatype.
  public typealias SendableMetatype = Any
#endif
