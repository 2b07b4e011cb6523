// One process owns a vault. The file `owner` is locked for as long as it does, and says who it is.
// The lock is the kernel's (flock(2)): it ends with the process, however that ends; what the file says is for people. The vault's
// folder is locked, too: it is still the same one where somebody takes the file away.
// Whoever only looks at a vault that nobody owns shares the lock for that moment (`Visit`), and writes nothing.

import Glibc
import Synchronization

final class OwnerLock: Sendable {
  static let fileName = "owner"
  /// Waits for visitors, 10 ms each.
  fileprivate static let patienceMax = 500

  private let descriptor: Int32
  private let directory: Int32
  private let isHeld = Atomic<Bool>(true)

  /// - Throws: `.owned`, naming the owner, where there is one.
  init(vault path: String, purpose: String) throws(VaultError) {
    let file = "\(path)/\(Self.fileName)"
    do throws(VaultError) { descriptor = try PlainFile.open(file, O_RDWR | O_CREAT, place: file) } catch {
      if case .disk(_, _, EROFS) = error { throw Self.onReadOnlyVolume(path) }
      throw error
    }
    directory = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
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
      // `deinit` runs for what a throwing initialiser made, too: it must not close a number that is someone else's by then.
      isHeld.store(false, ordering: .relaxed)
      close(descriptor)
      if directory >= 0 { close(directory) }
      throw code == EWOULDBLOCK ? .owned(path: path, by: owner) : .disk(operation: "lock", path: file, code: code)
    }
    if !takeDirectory() {
      release()
      throw .owned(path: path, by: "another process, whose file \(file) was taken away")
    }
    let text = "process \(getpid()) on \(Self.host), \(purpose)\n"
    _ = ftruncate(descriptor, 0)
    _ = unsafe text.withCString { unsafe pwrite(descriptor, $0, strlen($0), 0) }
  }
  deinit { release() }

  /// A visitor that came before there was a file to lock has the directory for a moment. Whoever comes later finds the file.
  /// - Returns: false where somebody keeps it.
  private func takeDirectory() -> Bool {
    for _ in 0..<Self.patienceMax {
      // (There are file systems on which directories cannot be locked.)
      if directory < 0 || flock(directory, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK { return true }
      usleep(10_000)
    }
    return false
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
    if directory >= 0 { close(directory) }
  }

  /// Who owns the vault now; nil if nobody does.
  static func owner(of path: String) -> String? {
    let file = "\(path)/\(fileName)"
    guard let descriptor = try? PlainFile.open(file, O_RDONLY, place: file) else { return nil }
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

  /// What `look` finds. All it opens is closed before the next visitor is let in: it ends with the call.
  /// - Throws: `.owned`, naming the owner, where there is one; what `look` throws.
  static func during<Found>(of path: String, _ look: () throws(VaultError) -> Found) throws(VaultError) -> Found {
    let visit = try Visit(vault: path)
    defer { visit.leave() }
    return try look()
  }

  private init(vault path: String) throws(VaultError) {
    // A vault that no one ever owned has no such file, and must not get one from a visitor: the directory is locked, too.
    if let owner = try ownerHolding(path) { throw .owned(path: path, by: owner) }
    let directory = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if directory < 0 { throw failure("open", path) }
    if hold(directory, LOCK_EX) != nil { throw .directoryInUse(path: path, detail: "others have been reading it all the time; try again") }
    // An owner that came meanwhile, as the first one, waits until nobody has the directory: either it is seen here, or it waits.
    if held.count == 1, let owner = try ownerHolding(path) { throw .owned(path: path, by: owner) }
  }
  deinit { leave() }

  private func leave() {
    for descriptor in held { close(descriptor) }
    held = []
  }

  /// Shares the owner's lock, where there is a file to lock.
  /// - Returns: who owns the vault; nil where nobody does.
  private func ownerHolding(_ path: String) throws(VaultError) -> String? {
    let file = "\(path)/\(OwnerLock.fileName)", descriptor: Int32
    do throws(VaultError) { descriptor = try PlainFile.open(file, O_RDONLY, place: file) } catch {
      guard case .disk(_, _, ENOENT) = error else { throw error }
      return nil
    }
    return hold(descriptor, LOCK_SH)
  }

  /// - Returns: nil where it is held; else who holds it, as far as the file says.
  private func hold(_ descriptor: Int32, _ kind: Int32) -> String? {
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
