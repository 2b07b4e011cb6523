// One message on the owner's socket: a header of 12 bytes, then as many bytes as it says.
//
//   0  magic    4 bytes  "VLTf"
//   4  version  u8       1
//   5  kind     u8
//   6  zero     u16
//   8  length   u32      of what follows, little-endian; bounded by kind
//
// What must stay true: a header is believed only as a whole, and no length is used before it was compared with the
// bound of its kind.

enum FrameKind: UInt8, CaseIterable {
  /// From the client: the name of a request and its arguments, JSON.
  case request = 1
  /// From the owner, any number, in this order or mixed: how far it is, and one thing of the answer, JSON; raw bytes of it.
  case progress, item, bytes
  /// From the owner, one of them, as the last: what the answer comes to, or why there is none; JSON.
  case end, error

  var lengthMax: Int {
    switch self {
    case .request: WireLimits.requestBytesMax
    case .progress: WireLimits.progressBytesMax
    case .item, .end: WireLimits.itemBytesMax
    case .bytes: WireLimits.bulkBytesMax
    case .error: WireLimits.errorBytesMax
    }
  }
}

struct FrameHeader: Equatable {
  static let length = 12
  private static let magic = Array("VLTf".utf8)
  private static let version: UInt8 = 1

  let kind: FrameKind
  let count: Int

  /// - Returns: nil where there is too much for one frame.
  init?(_ kind: FrameKind, count: Int) {
    guard count >= 0, count <= kind.lengthMax else { return nil }
    (self.kind, self.count) = (kind, count)
  }

  /// - Returns: nil where that is no header of ours.
  init?(_ bytes: some Collection<UInt8>) {
    let bytes = Array(bytes)
    guard bytes.count == Self.length, bytes.starts(with: Self.magic), bytes[4] == Self.version, bytes[6] == 0, bytes[7] == 0,
      let kind = FrameKind(rawValue: bytes[5]) else { return nil }
    let count = bytes[8...].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    self.init(kind, count: Int(count))
  }

  var bytes: [UInt8] {
    Self.magic + [Self.version, kind.rawValue, 0, 0] + (0..<4).map { UInt8(truncatingIfNeeded: count >> ($0 * 8)) }
  }
}
