// One process owns a vault. The file `owner` is locked for as long as it does, and says who it is.
// The lock is the kernel's (flock(2)): it ends with the process, however that ends; what the file says is for people.

import Glibc
import Synchronization

final class OwnerLock: Sendable {
  private let descriptor: Int32
  private let isHeld = Atomic<Bool>(true)

  /// - Throws: `.owned`, naming the owner, where there is one.
  init(vault path: String, purpose: String) throws(VaultError) {
    let file = "\(path)/owner"
    descriptor = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
    // `deinit` runs for what a throwing initialiser made, too: it must not close a number that is someone else's by then.
    if descriptor < 0 {
      isHeld.store(false, ordering: .relaxed)
      throw .disk(operation: "open", path: file, code: errno)
    }
    if flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      let code = errno
      let owner = Self.describe(descriptor)
      isHeld.store(false, ordering: .relaxed)
      close(descriptor)
      throw code == EWOULDBLOCK ? .owned(path: path, by: owner) : .disk(operation: "lock", path: file, code: code)
    }
    let text = "process \(getpid()) on \(Self.host), \(purpose)\n"
    _ = ftruncate(descriptor, 0)
    _ = text.withCString { pwrite(descriptor, $0, strlen($0), 0) }
  }
  deinit { release() }

  /// Lets go. Calling it again does nothing.
  func release() {
    let held = isHeld.exchange(false, ordering: .acquiringAndReleasing)
    guard held else { return }
    _ = ftruncate(descriptor, 0)
    close(descriptor)
  }

  /// Who owns the vault now; nil if nobody does.
  static func owner(of path: String) -> String? {
    let descriptor = open("\(path)/owner", O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    if flock(descriptor, LOCK_SH | LOCK_NB) == 0 { return nil }
    return describe(descriptor)
  }

  private static func describe(_ descriptor: Int32) -> String {
    var bytes = [UInt8](repeating: 0, count: 512)
    let count = pread(descriptor, &bytes, bytes.count, 0)
    let text = String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self).split(separator: "\n").first.map(String.init)
    return text ?? "another process"
  }

  private static var host: String {
    var name = [CChar](repeating: 0, count: 256)
    gethostname(&name, name.count - 1)
    return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
