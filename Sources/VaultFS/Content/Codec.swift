// How a frame's bytes are kept: as they are, lz4 (written inline) or zstd (written by the optimiser).
//
// What must stay true: whatever is encoded is decoded once and compared before anyone is told it is stored (a codec
// bug must not become a stored wrong byte), and decoding writes at most the declared length.

internal import CLZ4
internal import CZstd
internal import Crypto
import Glibc

enum Codec: UInt8 {
  case raw = 0
  case lz4 = 1
  case zstd = 2
  /// zstd with another frame's plain bytes as prefix: what is like them costs next to nothing.
  case zstdDelta = 3
}

/// Compressor state of one thread at a time; not thread-safe.
@safe final class Encoder {
  private var target = Buffer(capacity: 1 << 16)
  private var check = Buffer(capacity: 1 << 16)
  private lazy var zstd = unsafe ZSTD_createCCtx()
  private let decoder = Decoder()
  deinit { unsafe ZSTD_freeCCtx(zstd) }

  /// Hands over the smallest faithful form of `plain`: raw unless lz4 saves at least 1/32.
  /// - Parameter inHurry: raw too where a quick look promises little.
  func lz4(_ plain: UnsafeRawBufferPointer, inHurry: Bool = false) -> (Codec, UnsafeRawBufferPointer) {
    let limit = plain.count - plain.count / 32 - 1
    guard plain.count > 64, limit > 0 else { return unsafe (.raw, plain) }
    if inHurry, unsafe !saves(3, of: 10, plain) { return unsafe (.raw, plain) }
    guard let length = unsafe lz4(plain, limit: limit, acceleration: 1) else { return unsafe (.raw, plain) }
    return unsafe verified(.lz4, plain, length, prefix: nil)
  }

  /// Whether a quick look at the beginning of `plain` promises that lz4 saves so many parts of so many.
  func saves(_ part: Int, of parts: Int, _ plain: UnsafeRawBufferPointer) -> Bool {
    let sample = unsafe UnsafeRawBufferPointer(rebasing: plain.prefix(Self.sampleBytes))
    return unsafe lz4(sample, limit: sample.count * (parts - part) / parts, acceleration: 8) != nil
  }
  static let sampleBytes = 8 << 10

  /// - Returns: bytes in `target`; nil where they would be more than `limit`.
  private func lz4(_ plain: UnsafeRawBufferPointer, limit: Int, acceleration: Int32) -> Int? {
    if target.capacity < plain.count { target = Buffer(capacity: plain.count) }
    let length = unsafe LZ4_compress_fast(plain.baseAddress!.assumingMemoryBound(to: CChar.self),
                                   target.base.assumingMemoryBound(to: CChar.self), Int32(plain.count), Int32(limit), acceleration)
    return length > 0 ? Int(length) : nil
  }

  /// The same with zstd. The optimiser has time: `level` trades its CPU for space.
  /// - Parameter prefix: plain bytes of the frame that decoding will have at hand.
  func zstd(_ plain: UnsafeRawBufferPointer, level: Int32, prefix: UnsafeRawBufferPointer? = nil) -> (Codec, UnsafeRawBufferPointer) {
    guard plain.count > 64 else { return unsafe (.raw, plain) }
    let limit = ZSTD_compressBound(plain.count)
    if target.capacity < limit { target = Buffer(capacity: limit) }
    unsafe ZSTD_CCtx_reset(zstd, ZSTD_reset_session_and_parameters)
    unsafe ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, level)
    if let prefix = unsafe prefix {
      // The window must reach back over the whole prefix.
      let span = UInt64(prefix.count + plain.count)
      unsafe ZSTD_CCtx_setParameter(zstd, ZSTD_c_windowLog, Int32(64 - (span - 1).leadingZeroBitCount))
      unsafe ZSTD_CCtx_refPrefix(zstd, prefix.baseAddress, prefix.count)
    }
    let length = unsafe ZSTD_compress2(zstd, target.base, limit, plain.baseAddress, plain.count)
    guard ZSTD_isError(length) == 0, length < plain.count - plain.count / 32 else { return unsafe (.raw, plain) }
    return unsafe verified(prefix == nil ? .zstd : .zstdDelta, plain, length, prefix: prefix)
  }

  private func verified(_ codec: Codec, _ plain: UnsafeRawBufferPointer, _ length: Int, prefix: UnsafeRawBufferPointer?)
    -> (Codec, UnsafeRawBufferPointer) {
    let stored = unsafe UnsafeRawBufferPointer(start: target.base, count: length)
    if check.capacity < plain.count { check = Buffer(capacity: plain.count) }
    let back = unsafe UnsafeMutableRawBufferPointer(start: check.base, count: plain.count)
    guard unsafe decoder.decode(codec, stored, into: back, prefix: prefix), unsafe memcmp(back.baseAddress!, plain.baseAddress!, plain.count) == 0 else {
      return unsafe (.raw, plain)
    }
    return unsafe (codec, stored)
  }
}

/// Decompressor state of one thread at a time; not thread-safe.
@safe final class Decoder {
  private lazy var zstd = unsafe ZSTD_createDCtx()
  deinit { unsafe ZSTD_freeDCtx(zstd) }

  /// - Returns: whether `stored` decoded to exactly `plain.count` bytes.
  func decode(_ codec: Codec, _ stored: UnsafeRawBufferPointer, into plain: UnsafeMutableRawBufferPointer, prefix: UnsafeRawBufferPointer?) -> Bool {
    switch codec {
    case .raw:
      guard stored.count == plain.count else { return false }
      if unsafe !stored.isEmpty { unsafe plain.copyMemory(from: stored) }
      return true
    case .lz4:
      return unsafe LZ4_decompress_safe(stored.baseAddress!.assumingMemoryBound(to: CChar.self),
                                 plain.baseAddress!.assumingMemoryBound(to: CChar.self),
                                 Int32(stored.count), Int32(plain.count)) == Int32(plain.count)
    case .zstd:
      return unsafe ZSTD_decompressDCtx(zstd, plain.baseAddress, plain.count, stored.baseAddress, stored.count) == plain.count
    case .zstdDelta:
      guard let prefix = unsafe prefix else { return false }
      unsafe ZSTD_DCtx_reset(zstd, ZSTD_reset_session_only)
      unsafe ZSTD_DCtx_refPrefix(zstd, prefix.baseAddress, prefix.count)
      return unsafe ZSTD_decompressDCtx(zstd, plain.baseAddress, plain.count, stored.baseAddress, stored.count) == plain.count
    }
  }
}

extension ChunkID {
  /// Names `plain`: its SHA-256 (FIPS 180-4).
  init(of plain: UnsafeRawBufferPointer) {
    var hasher = SHA256()
    unsafe hasher.update(bufferPointer: plain)
    let words = unsafe hasher.finalize().withUnsafeBytes { digest in
      (0..<4).map { unsafe UInt64(bigEndian: digest.loadUnaligned(fromByteOffset: 8 * $0, as: UInt64.self)) }
    }
    self.init(words[0], words[1], words[2], words[3])
  }
}

extension UnsafeRawBufferPointer {
  /// Whether every byte is zero: such content becomes a hole and costs nothing.
  var isAllZero: Bool {
    guard let base = baseAddress, count > 0 else { return true }
    // Comparing the run with itself one byte on lets memcmp stop at the first byte that is not zero.
    return unsafe base.load(as: UInt8.self) == 0 && (count == 1 || memcmp(base, base + 1, count - 1) == 0)
  }
}
