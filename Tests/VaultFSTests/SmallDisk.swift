// A small disk of a test's own, in memory, with a vault on it, and something else that takes its room away.
//
// What must stay true: nothing stays mounted after the test.

import Glibc
import Testing
@testable import VaultFS

func isFull(_ error: any Error) -> Bool { if case VaultError.diskFull = error { true } else { false } }

struct SmallDisk {
  let home: Home
  private let place: String
  private var ballast: String { place + "/ballast" }

  static func run(mebibytes: Int = 150, _ body: (SmallDisk) throws -> Void) throws {
    try #require(getuid() == 0, "mounts a small disk: run the tests as root")
    let place = try temporaryDirectory()
    try #require(Glibc.mount("tmpfs", place, "tmpfs", 0, "size=\(mebibytes)m") == 0)
    defer {
      umount2(place, Int32(MNT_DETACH))
      rmdir(place)
    }
    let home = try Home.make(in: place)
    defer { home.remove() }
    try body(SmallDisk(home: home, place: place))
  }

  /// Leaves the vault so many bytes beyond its limit (below it, where negative).
  func fill(leaving bytes: Int) throws {
    let descriptor = Glibc.open(ballast, O_CREAT | O_RDWR, 0o600)
    defer { Glibc.close(descriptor) }
    let spare = Int(try home.vault.reserve.space().available) - Int(Limits.reserveBytes) - bytes
    try #require(posix_fallocate(descriptor, 0, spare) == 0)
  }

  /// Takes all there is.
  func fillUp() {
    let descriptor = Glibc.open(ballast, O_CREAT | O_RDWR, 0o600)
    defer { Glibc.close(descriptor) }
    var size = 1 << 30
    while size > 4096 {
      var info = stat()
      fstat(descriptor, &info)
      if posix_fallocate(descriptor, info.st_size, size) != 0 { size /= 2 }
    }
  }

  func free() { unlink(ballast) }
}
