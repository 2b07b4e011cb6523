// `vaultfs init`: a new vault.

import ArgumentParser
import Glibc
import VaultFS

struct Init: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make a vault in an empty directory, or one that does not exist yet.",
    discussion: "The directory is made private to you. Keep it on a disk with room: it holds everything the mount will show.")

  @Argument(help: "The vault's directory.") var vault: String
  @Option(help: "A name to tell it from others; by default the directory's.") var name: String?

  func run() throws {
    let path = vault.count > 1 && vault.hasSuffix("/") ? String(vault.dropLast()) : vault
    let label = name ?? path.split(separator: "/").last.map(String.init) ?? "vault"
    guard label.utf8.count <= 255, !label.utf8.contains(10), !label.utf8.contains(13) else {
      throw Failure("the name must be one line of at most 255 bytes; give another with --name")
    }
    if let mount = Mounts.containing(path) {
      throw Failure("\(path) is inside the vault mounted on \(mount.point); a vault cannot live in another: choose a directory outside it")
    }
    try Vault.create(at: path, name: label)
    print("Made the vault `\(label)` in \(resolved(path)). Mount it with: vaultfs mount \(path) DIR")
  }
}
