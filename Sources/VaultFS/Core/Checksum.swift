// CRC-32 (IEEE 802.3, as zip and gzip use it), by libdeflate: 10 GB/s and more where the processor has PCLMULQDQ.
// One checksum serves journal records, frames and the chunks' own CRC, which archives need anyway.

internal import CDeflate

enum Checksum {
  /// - Parameter seed: the checksum of the bytes before these; 0 at the start. A salt as seed keeps stale blocks of
  ///   a recycled file from ever validating.
  static func crc32(_ bytes: UnsafeRawBufferPointer, seed: UInt32 = 0) -> UInt32 {
    guard let base = bytes.baseAddress else { return seed }
    return unsafe libdeflate_crc32(seed, base, bytes.count)
  }
}
