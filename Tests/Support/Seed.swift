import Foundation

/// The seed that random writers and faults start from: `TIDEMARK_SEED`, or a new one.
package func walkSeed() -> UInt64 {
  ProcessInfo.processInfo.environment["TIDEMARK_SEED"].flatMap { UInt64($0) }
    ?? .random(in: 0...UInt64(UInt32.max))
}
