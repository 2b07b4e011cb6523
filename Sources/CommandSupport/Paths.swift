// Paths as the commands take them: bytes from beginning to end, and resolved without asking a mounted vault, because its
// owner may be dead, stopped, or this very process.

import ArgumentParser
public import FuseBridge
import Glibc
import Printable

extension MountEntry {
  public var isVault: Bool { type == "fuse.vaultfs" }
}

extension Path {
  /// What a person gave. `Arguments` has the bytes behind the text.
  @Sendable public static func argument(_ text: String) throws -> Path {
    let path = Path(Arguments.bytes(of: text))
    guard !path.bytes.isEmpty else { throw ValidationError("a path must not be empty; `.` is the current directory") }
    return path
  }

  /// Absolute, without `.`, `..` and symlinks. What does not exist is taken as it is, and so is what lies in a mounted
  /// vault.
  /// - Throws: where it is relative, and the current directory does not exist any more.
  public func resolved(_ mounts: [MountEntry] = MountTable.read()) throws -> Path { try resolvedWithLink(mounts).path }

  /// - Returns: also the symlink whose target it is, where the path ends with one.
  public func resolvedWithLink(_ mounts: [MountEntry]) throws -> (path: Path, link: Path?) {
    var done = Path("/"), linksLeft = 40, link: Path?
    var rest = Array((isAbsolute ? self : try Path.current().appending(bytes)).components.reversed())
    while let name = rest.popLast() {
      if name.elementsEqual(".".utf8) { continue }
      if name.elementsEqual("..".utf8) {
        done = done.parent
        continue
      }
      let next = done.appending(name)
      if linksLeft > 0, mounts.holding(next)?.isVault != true, let target = next.linkTarget {
        linksLeft -= 1
        if rest.isEmpty { link = link ?? next }
        if target.isAbsolute { done = Path("/") }
        rest += target.components.reversed()
      } else { done = next }
    }
    return (done, link)
  }

  /// The directory that holds this entry; `/` holds itself. The path is resolved.
  public var parent: Path { Path([UInt8(ascii: "/")] + components.dropLast().joined(separator: [UInt8(ascii: "/")])) }
  public var name: ArraySlice<UInt8>? { components.last }

  /// As the engine takes it. It is also what mount tables show as a vault's mount's source.
  public var ofVault: String {
    get throws {
      guard let text = String(validating: bytes, as: UTF8.self), printable(bytes) == text else {
        throw Failure("\(self): a vault's path must be UTF-8 without control characters; rename the directory", code: 2)
      }
      guard bytes.count <= Self.vaultBytesMax else {
        throw Failure("\(self): a vault's path has at most \(Self.vaultBytesMax) bytes (SQLite's limit); move it to a shorter one", code: 2)
      }
      return text
    }
  }
  /// SQLite takes 512 with the longest name in the vault and what it appends to that.
  private static let vaultBytesMax = 480

  private static func current() throws -> Path {
    guard let text = unsafe getcwd(nil, 0) else {
      guard errno == ENOENT else { throw Failure("cannot tell what the current directory is: \(systemWords(errno)); give absolute paths") }
      throw Failure("the current directory does not exist any more; change to another, or give absolute paths")
    }
    defer { unsafe free(text) }
    return unsafe Path(UnsafeBufferPointer(start: text, count: strlen(text)).map { UInt8(bitPattern: $0) })
  }

  /// What a symlink leads to; nil where there is none.
  var linkTarget: Path? {
    var target = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let count = unsafe withCString { path in unsafe target.withUnsafeMutableBytes { unsafe readlink(path, $0.baseAddress!, $0.count) } }
    return count > 0 ? Path(target.prefix(count)) : nil
  }
}

/// What the program was called with. Swift's own list repairs what is not UTF-8, and so names other files.
///
/// ArgumentParser wants text: a byte that is no text becomes a character of a plane that nobody uses, and comes back as
/// that byte. (Where such a character was given, its own bytes are treated so.)
public enum Arguments {
  private static let stand: UInt32 = 0x10FF00

  public static var given: [String] {
    unsafe UnsafeBufferPointer(start: CommandLine.unsafeArgv, count: Int(CommandLine.argc)).compactMap { word in
      unsafe word.map { unsafe text(of: UnsafeRawBufferPointer(start: $0, count: strlen($0))) }
    }
  }

  public static func text(of bytes: some Sequence<UInt8>) -> String {
    var text = String.UnicodeScalarView()
    for (scalar, bytes) in scalars(of: bytes) {
      if let scalar, scalar.value & ~0xFF != stand { text.append(scalar) } else { text += bytes.map { Unicode.Scalar(stand | UInt32($0))! } }
    }
    return String(text)
  }

  public static func bytes(of text: String) -> [UInt8] {
    text.unicodeScalars.flatMap { $0.value & ~0xFF == stand ? [UInt8($0.value & 0xFF)] : Array(String($0).utf8) }
  }
}
