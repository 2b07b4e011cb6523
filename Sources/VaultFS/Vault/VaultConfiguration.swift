// What a vault is, apart from what is in it: the file `vault` at its top, written once by `init`.
//
// Plain lines of `key value`, the last one a checksum of those before it, so that a person can read it and a flipped
// bit is noticed. An unknown format version is refused before anything else is touched, and so is a vault of another
// user: whoever may write in a directory could lead root's hand to other files by symlinks.

import Glibc
import Printable

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
      throw .formatUnknown(path: path, detail: "the vault has format \(printable(first[1].utf8)), this program knows format \(Self.formatVersion); use the vaultfs that made it, or a newer one")
    }
    var values: [String: String] = [:]
    for line in lines where line.count == 2 { values[line[0]] = line[1] }
    guard let last = lines.last, last.count == 2, last[0] == "crc32", last[1] == checksum(String(text.dropLast(last[1].count + 7))),
      let id = values["id"].flatMap(Self.words), let key = values["name-key"].flatMap(Self.words),
      let created = values["created"].flatMap({ Int64($0) }) else {
      throw Self.damaged(path)
    }
    self.init(id: NodeID(high: id.0, low: id.1), name: values["name"] ?? "", nameKey: key, created: created)
  }

  fileprivate static func damaged(_ path: String) -> VaultError {
    .formatUnknown(path: path, detail: "its configuration, \(path)/\(fileName), is damaged; restore that file from a copy of the vault (it holds the vault's identity, and never changes)")
  }

  private static func words(_ text: String) -> (UInt64, UInt64)? {
    guard text.count == 32, let a = UInt64(text.prefix(16), radix: 16), let b = UInt64(text.suffix(16), radix: 16) else { return nil }
    return (a, b)
  }
}

extension Vault {
  /// Who else `path` belongs to; nil where it is this user's.
  static func foreignOwner(of path: String) -> String? {
    var info = stat()
    guard unsafe stat(path, &info) == 0, info.st_uid != geteuid() else { return nil }
    return unsafe getpwuid(info.st_uid).map { unsafe String(cString: $0.pointee.pw_name) } ?? "user \(info.st_uid)"
  }

  /// Whether there is a vault at `path`, as far as this user may see; it may be damaged.
  public static func isVault(_ path: String) -> Bool { parts.allSatisfy { unsafe access("\(path)/\($0)", F_OK) == 0 } }

  static let directories = ["journal", "packs"]
  private static let parts = [VaultConfiguration.fileName] + directories

  /// What the vault at `path` is.
  /// - Throws: where it is none, is not of this user, or cannot be read by this program.
  public static func readConfiguration(_ path: String) throws(VaultError) -> VaultConfiguration {
    let disk: RealDisk
    do throws(VaultError) { disk = try RealDisk(path: path) } catch {
      switch error {
      case .disk(_, _, ENOENT): throw .vaultMissing(path: path)
      case .disk(_, _, ENOTDIR): throw .notAVault(path: path, detail: "it is not a directory")
      default:
        guard let owner = foreignOwner(of: path) else { throw error }
        throw .directoryInUse(path: path, detail: "it belongs to \(owner), and only \(owner) may look into it; run this as \(owner)")
      }
    }
    let found = directories.filter(disk.exists), hasFile = disk.exists(VaultConfiguration.fileName)
    let looksLikeVault = found == directories
    if let owner = foreignOwner(of: path), hasFile || looksLikeVault {
      // What is no vault is nobody's to give away.
      if found.isEmpty { throw .notAVault(path: path, detail: "it has no directories `\(directories.joined(separator: "` and `"))`") }
      if let words = OwnerLock.owner(of: path) {
        throw .directoryInUse(path: path, detail: "it belongs to \(owner) and is in use (\(printable(words.utf8))); run this as \(owner)")
      }
      let asRoot = geteuid() == 0 ? "" : " as root", how = geteuid() == 0 ? " (runuser(1))" : ""
      throw .directoryInUse(path: path, detail: "it belongs to \(owner); run this as \(owner)\(how), or, for good, give the vault to yourself\(asRoot), with `chown -R \(geteuid()) \(shellQuoted(path))`")
    }
    guard hasFile else {
      if !looksLikeVault {
        let isEmpty = (try? disk.list("."))?.isEmpty == true
        throw .notAVault(path: path, detail: isEmpty ? "it is an empty directory, and nothing is mounted on it (`vaultfs mount VAULT DIR` mounts a vault)" : "it has no file `\(VaultConfiguration.fileName)`")
      }
      throw .formatUnknown(path: path, detail: "its configuration, the file `\(VaultConfiguration.fileName)`, is missing. If `vaultfs init` was ended there before it was done, run it again; else restore that file from a copy of the vault")
    }
    let buffer = Buffer(capacity: 4096)
    defer { withExtendedLifetime(buffer) {} }
    do throws(VaultError) {
      let file = try disk.open(VaultConfiguration.fileName, .read)
      buffer.count = try unsafe file.read(into: buffer.space, at: 0)
      let configuration = try unsafe VaultConfiguration(decoding: String(decoding: buffer.bytes, as: UTF8.self), path: path)
      if let missing = directories.first(where: { !found.contains($0) }) {
        throw VaultError.formatUnknown(path: path, detail: "the vault's directory `\(missing)` is missing, and what was in it; put it back from a copy of the vault")
      }
      for directory in directories { try disk.check(directory: directory) }
      return configuration
    } catch {
      switch error {
      case .notAVault where !found.isEmpty: throw VaultConfiguration.damaged(path)
      case .misplaced(_, "a directory", _): throw .notAVault(path: path, detail: "its `\(VaultConfiguration.fileName)` is a directory")
      default: throw error
      }
    }
  }
}

private func checksum(_ text: String) -> String {
  unsafe hex(UInt64(Array(text.utf8).withUnsafeBytes { unsafe Checksum.crc32($0) }))
}

func hex(_ word: UInt64) -> String {
  let digits = String(word, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}
