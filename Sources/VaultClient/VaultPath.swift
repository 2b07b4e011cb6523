// A path inside a vault: names from its root on, bytes from beginning to end.

public import FoundationEssentials
import Printable
import VaultFS

public struct VaultPath: Hashable, Sendable, CustomStringConvertible {
  /// Without `.`, `..` and empty ones. None: the root.
  public let names: [[UInt8]]
  public static let root = VaultPath(names: [])

  private init(names: [[UInt8]]) { self.names = names }

  /// - Returns: nil where it has `..`, or more bytes or a longer name than a vault can hold.
  public init?(_ bytes: some Sequence<UInt8>) {
    let bytes = Array(bytes)
    let names = bytes.split(separator: UInt8(ascii: "/")).map(Array.init).filter { $0 != Array(".".utf8) }
    guard bytes.count <= WireLimits.pathBytesMax, names.allSatisfy({ $0.count <= Limits.nameBytesMax && $0 != Array("..".utf8) && !$0.contains(0) }) else { return nil }
    self.names = names
  }

  /// Whether it is in what a mount shows of the past: nothing of that is a place in the vault.
  public var isOfPast: Bool { names.first == Array(Vault.pastName) }

  /// With a slash at its beginning.
  public var bytesForJSON: Data { Data([UInt8(ascii: "/")] + bytes) }
  var bytes: [UInt8] { Array(names.joined(separator: [UInt8(ascii: "/")])) }
  public var description: String { "/" + printable(bytes) }
}

/// JSON has no bytes: base64.
extension VaultPath: Codable {
  public init(from decoder: any Decoder) throws {
    let box = try decoder.singleValueContainer(), data = try box.decode(Data.self)
    guard let path = VaultPath(data) else { throw DecodingError.dataCorruptedError(in: box, debugDescription: "not a path inside a vault") }
    self = path
  }
  public func encode(to encoder: any Encoder) throws {
    var box = encoder.singleValueContainer()
    try box.encode(Data(bytes))
  }
}
