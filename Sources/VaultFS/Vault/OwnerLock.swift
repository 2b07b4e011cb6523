// One process owns a vault. The file `owner` is locked for as long as it does, and says who it is.
// The lock is the kernel's (flock(2)): it ends with the process, however that ends; what the file says is for people.
// Whoever only looks at a vault that nobody owns shares the lock for that moment (`Visit`), and writes nothing.

import Glibc
import Synchronization

final class OwnerLock: Sendable {
  static let fileName = "owner"
  /// Waits for visitors, 10 ms each.
  fileprivate static let patienceMax = 500

  private let descriptor: Int32
  private let isHeld = Atomic<Bool>(true)

  /// - Throws: `.owned`, naming the owner, where there is one.
  init(vault path: String, purpose: String) throws(VaultError) {
    let file = "\(path)/\(Self.fileName)"
    descriptor = unsafe open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
    // `deinit` runs for what a throwing initialiser made, too: it must not close a number that is someone else's by then.
    if descriptor < 0 {
      isHeld.store(false, ordering: .relaxed)
      if errno == EROFS { throw Self.onReadOnlyVolume(path) }
      throw .disk(operation: "open", path: file, code: errno)
    }
    var patience = Self.patienceMax
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      let code = errno
      if code == EINTR { continue }
      // Where the lock can be shared, those who hold it only look, and are gone soon.
      if code == EWOULDBLOCK, patience > 0, flock(descriptor, LOCK_SH | LOCK_NB) == 0 {
        flock(descriptor, LOCK_UN)
        usleep(10_000)
        patience -= 1
        continue
      }
      let owner = Self.describe(descriptor)
      isHeld.store(false, ordering: .relaxed)
      close(descriptor)
      throw code == EWOULDBLOCK ? .owned(path: path, by: owner) : .disk(operation: "lock", path: file, code: code)
    }
    waitForVisitors(path)
    let text = "process \(getpid()) on \(Self.host), \(purpose)\n"
    _ = ftruncate(descriptor, 0)
    _ = unsafe text.withCString { unsafe pwrite(descriptor, $0, strlen($0), 0) }
  }
  deinit { release() }

  /// One that came before there was a file to lock has the directory. Whoever comes later finds the file.
  private func waitForVisitors(_ path: String) {
    let directory = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard directory >= 0 else { return }
    defer { close(directory) }
    for _ in 0..<Self.patienceMax {
      if flock(directory, LOCK_EX | LOCK_NB) == 0 { return }
      usleep(10_000)
    }
  }

  static func onReadOnlyVolume(_ path: String) -> VaultError {
    .directoryInUse(path: path, detail: "it is on a read-only file system, and whoever uses a vault must write to it, even to look (--read-only, status); make that one writable, or copy the vault elsewhere")
  }

  /// Lets go. Calling it again does nothing.
  func release() {
    let held = isHeld.exchange(false, ordering: .acquiringAndReleasing)
    guard held else { return }
    _ = ftruncate(descriptor, 0)
    close(descriptor)
  }

  /// Who owns the vault now; nil if nobody does.
  static func owner(of path: String) -> String? {
    let descriptor = unsafe open("\(path)/\(fileName)", O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    if flock(descriptor, LOCK_SH | LOCK_NB) == 0 { return nil }
    return describe(descriptor)
  }

  fileprivate static func describe(_ descriptor: Int32) -> String {
    var bytes = [UInt8](repeating: 0, count: 512)
    let count = unsafe pread(descriptor, &bytes, bytes.count, 0)
    let text = String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self).split(separator: "\n").first.map(String.init)
    return text ?? "another process"
  }

  private static var host: String {
    var name = [CChar](repeating: 0, count: 256)
    unsafe gethostname(&name, name.count - 1)
    return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

/// A look at a vault that nobody owns. Meanwhile nobody comes to own it, and nobody else looks: SQLite lets one in at a time.
final class Visit {
  private var held: [Int32] = []

  /// - Throws: `.owned`, naming the owner, where there is one.
  init(vault path: String) throws(VaultError) {
    // A vault that no one ever owned has no such file, and must not get one from a visitor.
    if let owner = try hold("\(path)/\(OwnerLock.fileName)", LOCK_SH) { throw .owned(path: path, by: owner) }
    if try hold(path, LOCK_EX) != nil { throw .directoryInUse(path: path, detail: "others have been reading it all the time; try again") }
    // An owner that came meanwhile, as the first one, waits until nobody has the directory: either it is seen here, or it waits.
    if held.count == 1, let owner = try hold("\(path)/\(OwnerLock.fileName)", LOCK_SH) { throw .owned(path: path, by: owner) }
  }
  deinit { for descriptor in held { close(descriptor) } }

  /// - Returns: nil where it is held, or not there; else who holds it, as far as the file says.
  private func hold(_ file: String, _ kind: Int32) throws(VaultError) -> String? {
    let descriptor = unsafe open(file, O_RDONLY | O_CLOEXEC | (kind == LOCK_SH ? O_NOFOLLOW : O_DIRECTORY))
    if descriptor < 0 {
      if errno == ENOENT { return nil }
      throw .disk(operation: "open", path: file, code: errno)
    }
    held.append(descriptor)
    for _ in 0..<OwnerLock.patienceMax {
      if flock(descriptor, kind | LOCK_NB) == 0 { return nil }
      // An owner stays; only visitors are waited for.
      if kind == LOCK_SH { break }
      usleep(10_000)
    }
    return OwnerLock.describe(descriptor)
  }
}
