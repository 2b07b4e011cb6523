// What a vault is, apart from what is in it: the file `vault` at its top, written once by `init`.
//
// Plain lines of `key value`, the last one a checksum of those before it, so that a person can read it and a flipped
// bit is noticed. An unknown format version is refused before anything else is touched.

public struct VaultConfiguration: Sendable {
  public static let fileName = "vault"
  public static let formatVersion = 1

  public var id: NodeID
  public var name: String
  /// Keys the order of directories, so that nobody outside can make names collide.
  var nameKey: (UInt64, UInt64)
  /// Seconds since 1970.
  public var created: Int64

  func encoded() -> String {
    let lines = """
      vaultfs \(Self.formatVersion)
      id \(hex(id.high))\(hex(id.low))
      created \(created)
      name-key \(hex(nameKey.0))\(hex(nameKey.1))
      name \(name)

      """
    return lines + "crc32 \(checksum(lines))\n"
  }

  init(id: NodeID, name: String, nameKey: (UInt64, UInt64), created: Int64) {
    (self.id, self.name, self.nameKey, self.created) = (id, name, nameKey, created)
  }

  /// - Parameter path: the vault's directory, for messages.
  init(decoding text: String, path: String) throws(VaultError) {
    let file = "\(path)/\(Self.fileName)"
    let lines = text.split(separator: "\n").map { $0.split(separator: " ", maxSplits: 1).map(String.init) }
    guard let first = lines.first, first.count == 2, first[0] == "vaultfs" else {
      throw .notAVault(path: path, detail: "\(file) is not a vault's configuration")
    }
    guard first[1] == String(Self.formatVersion) else {
      throw .formatUnknown(path: path, detail: "the vault has format \(first[1]), this program knows format \(Self.formatVersion); use the vaultfs that made it, or a newer one")
    }
    var values: [String: String] = [:]
    for line in lines where line.count == 2 { values[line[0]] = line[1] }
    guard let last = lines.last, last.count == 2, last[0] == "crc32", last[1] == checksum(String(text.dropLast(last[1].count + 7))),
      let id = values["id"].flatMap(Self.words), let key = values["name-key"].flatMap(Self.words),
      let created = values["created"].flatMap({ Int64($0) }) else {
      throw .formatUnknown(path: path, detail: "\(file) is damaged; restore it from a copy (it holds the vault's identity)")
    }
    self.init(id: NodeID(high: id.0, low: id.1), name: values["name"] ?? "", nameKey: key, created: created)
  }

  private static func words(_ text: String) -> (UInt64, UInt64)? {
    guard text.count == 32, let a = UInt64(text.prefix(16), radix: 16), let b = UInt64(text.suffix(16), radix: 16) else { return nil }
    return (a, b)
  }
}

private func checksum(_ text: String) -> String {
  hex(UInt64(Array(text.utf8).withUnsafeBytes { Checksum.crc32($0) }))
}

func hex(_ word: UInt64) -> String {
  let digits = String(word, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}
