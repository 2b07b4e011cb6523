// What is mounted where, by /proc/self/mountinfo (proc(5)). Never touches a mount: a dead one would hang or fail.

import Glibc

struct MountEntry {
  var point: String
  var type: String
  var source: String
  var isVault: Bool { type == "fuse.vaultfs" }
}

enum Mounts {
  /// All mounts, the newest last.
  static var all: [MountEntry] {
    readFile("/proc/self/mountinfo").split(separator: "\n").compactMap { line in
      let fields = line.split(separator: " ").map(String.init)
      guard fields.count > 6, let dash = fields.firstIndex(of: "-"), fields.count > dash + 2 else { return nil }
      return MountEntry(point: unescaped(fields[4]), type: fields[dash + 1], source: unescaped(fields[dash + 2]))
    }
  }

  /// The vault mounted exactly on `path`.
  static func vault(at path: String) -> MountEntry? {
    let full = resolvedWithoutTouching(path)
    return all.last { $0.point == full && $0.isVault }
  }

  /// The vault whose mount holds `path`.
  static func containing(_ path: String) -> MountEntry? {
    let full = resolvedWithoutTouching(path)
    return all.filter { full == $0.point || full.hasPrefix($0.point == "/" ? "/" : $0.point + "/") }
      .max { $0.point.utf8.count < $1.point.utf8.count }.flatMap { $0.isVault ? $0 : nil }
  }

  /// realpath(3) of the parent, and the last component as it is: that one may be a dead mount.
  static func resolvedWithoutTouching(_ path: String) -> String {
    let trimmed = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
    guard let slash = trimmed.lastIndex(of: "/") else { return join(resolved("."), trimmed) }
    let last = String(trimmed[trimmed.index(after: slash)...])
    if last.isEmpty || last == "." || last == ".." { return resolved(trimmed) }
    return join(resolved(slash == trimmed.startIndex ? "/" : String(trimmed[..<slash])), last)
  }

  private static func join(_ directory: String, _ name: String) -> String {
    name == "." ? directory : directory == "/" ? "/\(name)" : "\(directory)/\(name)"
  }

  private static func unescaped(_ field: String) -> String {
    var bytes: [UInt8] = []
    var rest = Array(field.utf8)[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "\\"), rest.count >= 3, let value = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8) {
        bytes.append(value)
        rest = rest.dropFirst(3)
      } else { bytes.append(byte) }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}

func readFile(_ path: String) -> String {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { return "" }
  defer { close(descriptor) }
  var text: [UInt8] = [], buffer = [UInt8](repeating: 0, count: 65536)
  while true {
    let count = read(descriptor, &buffer, buffer.count)
    if count <= 0 { return String(decoding: text, as: UTF8.self) }
    text += buffer[0..<count]
  }
}
