import CTidemarkPlugin
import Synchronization

/// Makes a plugin of the type that this library exports; a library exports one type. Each shard sets it before it calls
/// anything else, while another shard may be opening its plugin.
private let exported = Mutex<(@Sendable (Opening) throws -> any Plugin)?>(nil)

/// The value that `tidemark_plugin_main` returns for a plugin of this type.
public func export<P: Plugin>(_ type: P.Type) -> UnsafeRawPointer {
  exported.withLock { $0 = { try P($0) } }
  let table = UnsafeMutablePointer<tidemark_plugin>.allocate(capacity: 1)
  table.initialize(
    to: tidemark_plugin(abi: UInt32(TIDEMARK_PLUGIN_ABI), open: open, apply: apply, close: close))
  return UnsafeRawPointer(table)
}

/// Boxes the plugin, since C has no existentials.
private final class Box {
  let plugin: any Plugin
  init(_ plugin: any Plugin) { self.plugin = plugin }
}

private func open(
  _ opening: UnsafePointer<tidemark_opening>?, _ host: UnsafePointer<tidemark_host>?,
  _ state: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
) -> CInt {
  guard let opening = opening?.pointee, let host, let state, let make = exported.withLock({ $0 }) else { return 0 }
  do {
    let plugin = try make(
      Opening(
        config: opening.config.string ?? "", shard: opening.shard.string ?? "",
        database: opening.database.string ?? "", mode: opening.mode.string ?? "", position: opening.position,
        log: Log(host: host.pointee)))
    state.pointee = Unmanaged.passRetained(Box(plugin)).toOpaque()
    return CInt(TIDEMARK_READY)
  } catch {
    "\(error)".withText { host.pointee.failed(host.pointee.context, 0, TIDEMARK_CLASS_DEFINITION, $0) }
    return CInt(TIDEMARK_FAILED)
  }
}

private func apply(
  _ state: UnsafeMutableRawPointer?, _ page: UnsafePointer<tidemark_page>?, _ host: UnsafePointer<tidemark_host>?
) -> CInt {
  guard let state, let page, let host else { return 0 }
  let plugin = Unmanaged<Box>.fromOpaque(state).takeUnretainedValue().plugin
  let first = page.pointee.count > 0 ? page.pointee.events.pointee.seq_id : 0
  do {
    try plugin.apply(Page(page: page, host: host))
    return CInt(TIDEMARK_APPLIED)
  } catch let failure as EventFailed {
    failure.message.withText {
      host.pointee.failed(host.pointee.context, failure.sequence, tidemark_class(failure.kind.rawValue), $0)
    }
  } catch {
    // No single event is at fault: the page is tried again from its first event.
    "\(error)".withText { host.pointee.failed(host.pointee.context, first, TIDEMARK_CLASS_TRANSIENT, $0) }
  }
  return CInt(TIDEMARK_FAILED)
}

private func close(_ state: UnsafeMutableRawPointer?) {
  guard let state else { return }
  Unmanaged<Box>.fromOpaque(state).release()
}
