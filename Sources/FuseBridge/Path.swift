// A path is bytes, and two paths are the same only where their bytes are: text folds what file systems tell apart.

import Glibc
import Printable

/// A path in any encoding. Its `description` is for people only.
public struct Path: Hashable, Sendable {
  public let bytes: [UInt8]
  public init(_ bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }
  public init(_ text: String) { bytes = Array(text.utf8) }

  public var isAbsolute: Bool { bytes.first == UInt8(ascii: "/") }
  /// The names between the slashes.
  public var components: [ArraySlice<UInt8>] { bytes.split(separator: UInt8(ascii: "/")) }

  /// The entry `name` of this directory.
  public func appending(_ name: some Sequence<UInt8>) -> Path {
    Path(bytes.last == UInt8(ascii: "/") ? bytes + Array(name) : bytes + [UInt8(ascii: "/")] + Array(name))
  }
  public func appending(_ name: String) -> Path { appending(name.utf8) }

  /// Whether `other` is this directory or lies beneath it; both absolute and without `.`, `..` and links.
  public func contains(_ other: Path) -> Bool {
    other == self || other.bytes.starts(with: bytes.last == UInt8(ascii: "/") ? bytes : bytes + [UInt8(ascii: "/")])
  }

  public func withCString<Result>(_ body: (UnsafePointer<CChar>) throws -> Result) rethrows -> Result {
    try unsafe (bytes + [0]).withUnsafeBytes { try unsafe body($0.baseAddress!.assumingMemoryBound(to: CChar.self)) }
  }
}

extension Path {
  /// For a command that a person may copy into a shell.
  public var quoted: String { shellQuoted(description) }
}

extension Path: CustomStringConvertible {
  /// As it is where it can be shown; `\xNN` for each byte that is not UTF-8 or would move a terminal's cursor.
  public var description: String { printable(bytes) }
}

/// A file of /proc or a small one of ours; nil where it cannot be read.
/// - Parameter limit: bytes; what is beyond is left out.
public func contents(of file: String, atMost limit: Int = 64 << 20) -> [UInt8]? {
  // Not waiting: what has the name of a file may be a pipe.
  let descriptor = unsafe open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
  guard descriptor >= 0 else { return nil }
  defer { close(descriptor) }
  var bytes: [UInt8] = [], buffer = [UInt8](repeating: 0, count: 65536)
  while true {
    let count = unsafe read(descriptor, &buffer, buffer.count)
    if count < 0 && errno == EINTR { continue }
    if count <= 0 { return count < 0 ? nil : bytes }
    bytes += buffer[0..<min(count, limit - bytes.count)]
    if bytes.count == limit { return bytes }
  }
}
