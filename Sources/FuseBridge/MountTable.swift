// What is mounted where, by /proc/self/mountinfo (proc(5)). Never touches a mount: a dead one fails, and one whose
// program was stopped waits for ever.

import Glibc

/// One mount. Two values are equal where they mean the same mount: its number, its device, its place and its source.
public struct MountEntry: Equatable, Sendable {
  public let id: Int
  public let parent: Int
  /// `major:minor`
  public let device: String
  /// What of the file system is shown there: `/`, or the directory that was bound.
  public let root: Path
  public let point: Path
  public let type: String
  public let source: Path
  /// Of a FUSE mount, the user whose process serves it.
  public let user: UInt32?

  // 36 35 98:0 /root /mount\040point rw,... master:1 - type source options
  init?(line: some Collection<UInt8>) {
    let fields = line.split(separator: UInt8(ascii: " "))
    func text(_ index: Int) -> String { String(decoding: fields[index], as: UTF8.self) }
    guard fields.count > 6, let dash = fields.firstIndex(where: { $0.elementsEqual([UInt8(ascii: "-")]) }), fields.count > dash + 2,
      let id = Int(text(0)), let parent = Int(text(1)) else { return nil }
    (self.id, self.parent, device, type) = (id, parent, text(2), text(dash + 1))
    let user = fields.count > dash + 3 ? text(dash + 3).split(separator: ",").first { $0.hasPrefix("user_id=") } : nil
    self.user = user.flatMap { UInt32($0.dropFirst("user_id=".count)) }
    (root, point, source) = (Path(Self.unescaped(fields[3])), Path(Self.unescaped(fields[4])), Path(Self.unescaped(fields[dash + 2])))
  }

  /// The kernel writes space, tab, newline and backslash as `\` and three octal digits.
  private static func unescaped(_ field: some Sequence<UInt8>) -> [UInt8] {
    var result: [UInt8] = []
    var rest = Array(field)[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "\\"), rest.count >= 3, let value = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8) {
        result.append(value)
        rest = rest.dropFirst(3)
      } else {
        result.append(byte)
      }
    }
    return result
  }
}

public enum MountTable {
  /// All mounts of this process's namespace, the newest last.
  public static func read() -> [MountEntry] {
    (contents(of: "/proc/self/mountinfo") ?? []).split(separator: 10).compactMap { MountEntry(line: $0) }
  }
}

extension [MountEntry] {
  /// What one meets at `point`: of the mounts there, the one that none of the others lies on.
  public func top(at point: Path) -> MountEntry? {
    let here = filter { $0.point == point }
    return here.last { entry in !here.contains { $0.parent == entry.id && $0.id != entry.id } }
  }

  /// The mount that holds `path`.
  public func holding(_ path: Path) -> MountEntry? {
    let around = filter { $0.point.contains(path) }
    return around.max { $0.point.bytes.count < $1.point.bytes.count }.flatMap { top(at: $0.point) }
  }
}
