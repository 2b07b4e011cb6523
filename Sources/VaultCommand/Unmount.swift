// `vaultfs unmount`: takes a mount away and waits until the vault is clean.

import ArgumentParser
import Glibc
import VaultFS

struct Unmount: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Unmount a vault, and return when everything is on disk.",
    discussion: "The same as umount(8) or `fusermount3 -u`, but it waits for the owner to finish and says what is in the way.")

  @Argument(help: "The directory it is mounted on.") var directory: String
  @Flag(help: "Take the mount away even if files are open there; they fail from then on.") var lazy = false

  func run() throws {
    guard let entry = Mounts.vault(at: directory) else {
      let other = Mounts.all.last { $0.source == resolved(directory) && $0.isVault }
      throw Failure(other.map { "\(directory) is a vault, mounted on \($0.point); run `vaultfs unmount \($0.point)`" }
        ?? "no vault is mounted on \(directory); `vaultfs status VAULT` says where one is")
    }
    try detach(entry.point, lazily: lazy)
    var waited = 0
    while let owner = Vault.owner(of: entry.source) {
      if lazy && waited > 50 {
        print("Detached; \(owner) goes on until the files in use are closed.")
        return
      }
      if waited == 600 { throw Failure("\(owner) is still writing to \(entry.source) after a minute; see \(entry.source)/log") }
      usleep(100_000)
      waited += 1
    }
  }
}

/// umount(2) as root, fusermount3 otherwise.
func detach(_ point: String, lazily: Bool) throws {
  var done: Int32 = -1, why: Int32 = 0
  // A program that has just ended may hold the mount for a moment more.
  for attempt in 0..<10 {
    if geteuid() == 0 {
      done = umount2(point, Int32(lazily ? MNT_DETACH : 0))
      why = errno
    } else {
      (done, why) = fusermount(point, lazily: lazily)
    }
    if done == 0 { return }
    if why != EBUSY { break }
    usleep(useconds_t(20_000 * (attempt + 1)))
  }
  if why == EBUSY {
    throw Failure("\(point) is in use: a program has a file open or its working directory there (`fuser -vm \(point)` shows which); close it, or use --lazy")
  }
  throw Failure("cannot unmount \(point): \(String(cString: strerror(why)))")
}

private func fusermount(_ point: String, lazily: Bool) -> (Int32, Int32) {
  var argv: [UnsafeMutablePointer<CChar>?] = ["fusermount3", "-q", lazily ? "-uz" : "-u", point].map { (text: String) in strdup(text) } + [nil]
  defer { for argument in argv { free(argument) } }
  var child = pid_t(), status: Int32 = 0
  let code = posix_spawnp(&child, "fusermount3", nil, nil, &argv, environ)
  if code != 0 { return (-1, code) }
  waitpid(child, &status, 0)
  return (status == 0 ? 0 : -1, EBUSY)
}
