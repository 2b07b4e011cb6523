// `vaultfs init`: a new vault.

import ArgumentParser
import FuseBridge
import VaultFS

struct Init: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make a vault in an empty directory, or one that does not exist yet.",
    discussion: "The directory is made private to you. Keep it on a disk with room: it holds everything the mount will show.")

  @Argument(help: "The vault's directory.", transform: Path.argument) var vault: Path
  @Option(help: "A name to tell it from others; by default the directory's.") var name: String?

  func run() throws {
    let mounts = MountTable.read()
    let path = vault.resolved(mounts), text = try path.ofVault
    let label = name.map { String(validating: Arguments.bytes(of: $0), as: UTF8.self) } ?? path.name.map { String(decoding: $0, as: UTF8.self) } ?? "vault"
    guard let label, label.utf8.count <= 255, !label.utf8.contains(10), !label.utf8.contains(13) else {
      throw Failure("the name must be one line of UTF-8 with at most 255 bytes; give another with --name")
    }
    if let mount = mounts.holding(path), mount.isVault {
      throw Failure("\(path) is inside the vault mounted on \(mount.point); a vault cannot live in another: choose a directory outside it")
    }
    do throws(VaultError) { try Vault.create(at: text, name: label) } catch {
      guard case .diskFull = error else { throw error }
      throw Failure("cannot make a vault in \(path): \(error)")
    }
    try say("Made the vault `\(printable(label.utf8))` in \(path). Mount it with: vaultfs mount \(path) DIR")
  }
}
