// SipHash-1-3 (Aumasson and Bernstein, 2012): a keyed hash for names, so that nobody who can name files can make
// them collide in a directory's order.

enum SipHash {
  static func hash(_ bytes: [UInt8], key: (UInt64, UInt64)) -> UInt64 {
    var v0 = key.0 ^ 0x736f_6d65_7073_6575, v1 = key.1 ^ 0x646f_7261_6e64_6f6d
    var v2 = key.0 ^ 0x6c79_6765_6e65_7261, v3 = key.1 ^ 0x7465_6462_7974_6573
    func round() {
      v0 = v0 &+ v1; v1 = (v1 << 13 | v1 >> 51) ^ v0; v0 = v0 << 32 | v0 >> 32
      v2 = v2 &+ v3; v3 = (v3 << 16 | v3 >> 48) ^ v2
      v0 = v0 &+ v3; v3 = (v3 << 21 | v3 >> 43) ^ v0
      v2 = v2 &+ v1; v1 = (v1 << 17 | v1 >> 47) ^ v2; v2 = v2 << 32 | v2 >> 32
    }
    unsafe bytes.withUnsafeBytes { raw in
      let whole = raw.count / 8
      for index in 0..<whole {
        let word = unsafe UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self))
        v3 ^= word; round(); v0 ^= word
      }
      var last = UInt64(raw.count & 0xFF) << 56
      for unsafe (shift, byte) in unsafe raw[(8 * whole)...].enumerated() { last |= UInt64(byte) << (8 * UInt64(shift)) }
      v3 ^= last; round(); v0 ^= last
    }
    v2 ^= 0xFF
    round(); round(); round()
    return v0 ^ v1 ^ v2 ^ v3
  }
}
