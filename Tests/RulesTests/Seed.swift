import Glibc

/// A small generator whose whole state is its seed, so that one number reproduces a run.
struct SplitMix64: RandomNumberGenerator, Sendable {
  private var state: UInt64

  init(seed: UInt64) {
    state = seed
  }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// A number from 0 up to, not including, `bound`.
  mutating func below(_ bound: Int) -> Int {
    Int(truncatingIfNeeded: next() >> 33) % bound
  }

  mutating func chance(_ percent: Int) -> Bool {
    below(100) < percent
  }
}

/// The seed a walk begins with: `TIDEMARK_SEED`, or one that was never used before.
func walkSeed() -> UInt64 {
  if let text = getenv("TIDEMARK_SEED"), let seed = UInt64(String(cString: text)) { return seed }
  return UInt64.random(in: 0...UInt64(UInt32.max))
}
