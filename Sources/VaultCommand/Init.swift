// `vaultfs init`: a new vault.

import ArgumentParser
import CommandSupport
import FuseBridge
import Glibc
import Printable
import VaultFS

struct Init: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init", abstract: "Make a vault in an empty directory, or one that does not exist yet.",
    discussion: "The directory is made private to you. Keep it on a disk with room: it holds everything the mount will show.")

  @Argument(help: "The vault's directory.", completion: .directory, transform: Path.argument) var vault: Path
  @Option(help: "A name to tell it from others; by default the directory's.") var name: String?

  /// Below this much room on its disk, a vault is of little use, bytes.
  private static let spaceWanted: UInt64 = 64 << 20
  /// Bytes of a name, in every file system.
  private static let nameBytesMax = 255

  func run() throws {
    let mounts = MountTable.read()
    let (path, link) = try vault.resolvedWithLink(mounts), text = try path.ofVault
    if let long = path.components.first(where: { $0.count > Self.nameBytesMax }) {
      throw Failure("\(path): `\(printable(long))` has \(long.count) bytes, and a name at most \(Self.nameBytesMax); choose a shorter one", code: 2)
    }
    let label = name.map { String(validating: Arguments.bytes(of: $0), as: UTF8.self) } ?? path.name.map { String(decoding: $0, as: UTF8.self) } ?? "vault"
    guard let label, (1...255).contains(label.utf8.count), !label.utf8.contains(10), !label.utf8.contains(13) else {
      throw Failure("the name must be one line of UTF-8 with 1 to 255 bytes; give another with --name", code: 2)
    }
    try refuse(path, mounts)
    if let link, unsafe path.withCString({ unsafe access($0, F_OK) }) != 0 {
      throw Failure("\(link) is a symlink to \(path), which does not exist; make that directory, or give the path itself")
    }
    try make(at: text, named: label, path)
    try say("Made the vault `\(printable(label.utf8))` in \(path). Mount it with: vaultfs mount \(path.quoted) DIR")
    var info = statvfs()
    guard unsafe statvfs(text, &info) == 0, case let available = UInt64(info.f_bavail) * UInt64(info.f_frsize), available < Self.spaceWanted else { return }
    complain("""
      warning: the disk that holds \(path) has only \(human(available)) available, and \(human(Vault.spaceKeptBack)) of it are kept back so that \
      deleting goes on: little or nothing can be stored; give it more space, or make the vault on another disk
      """)
  }

  /// One that was killed while it made the vault is waited for: it may be a moment until it is gone.
  private func make(at text: String, named label: String, _ path: Path) throws {
    for attempt in 0... {
      do throws(VaultError) {
        try Vault.create(at: text, name: label)
        return
      } catch {
        if case .diskFull = error { throw Failure("cannot make a vault in \(path): \(error)") }
        guard case .owned = error, attempt < 20 else { throw error }
        usleep(50_000)
      }
    }
  }

  private func refuse(_ path: Path, _ mounts: [MountEntry]) throws {
    if let mount = mounts.holding(path), mount.isVault {
      throw Failure("\(path) is inside the vault mounted on \(mount.point); a vault cannot live in another: choose a directory outside it")
    }
    try mounts.refuseDisplaced(path)
    var outer = path
    while outer != outer.parent {
      outer = outer.parent
      if let text = try? outer.ofVault, Vault.isVault(text) {
        throw Failure("\(path) is inside the folder of the vault \(outer); a vault cannot live in another: choose a directory outside it")
      }
    }
  }
}
