// The command `vaultfs`: makes vaults, mounts and unmounts them, tells of them, rebuilds them.
// Installed (or linked) as `mount.vaultfs` it is what mount(8) and fstab(5) call.
//
// Exit codes: 0 done, 1 failed (a message on standard error says what and what to do), 2 wrongly called.

import ArgumentParser
import Glibc
import VaultFS

@main
struct Vaultfs: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "vaultfs",
    abstract: "A directory that stores nothing twice, compresses what it stores, and survives what happens to it.",
    discussion: """
      A vault is a directory with everything in it; mounted, it is a file system.

        vaultfs init ~/vault                make a vault
        vaultfs mount ~/vault ~/files       use it: ~/files is now an ordinary directory
        vaultfs status ~/files              see what it holds and costs
        vaultfs unmount ~/files             put it away
      """,
    version: "vaultfs 0.1 (vault format \(VaultConfiguration.formatVersion))",
    subcommands: [Init.self, Mount.self, Unmount.self, Status.self, Rebuild.self])

  static func main() {
    umask(0o077)
    var arguments = Array(CommandLine.arguments.dropFirst())
    let program = CommandLine.arguments.first?.split(separator: "/").last ?? ""
    if program.hasPrefix("mount.") { arguments = MountHelper.translate(arguments) }
    do {
      var command = try parseAsRoot(arguments)
      try command.run()
    } catch let failure as Failure {
      complain(failure.message)
      Glibc.exit(failure.code)
    } catch let error as VaultError {
      complain("\(error)")
      Glibc.exit(1)
    } catch {
      let code = exitCode(for: error)
      let text = fullMessage(for: error)
      if !text.isEmpty { code == .success ? print(text) : complain(text, prefix: "") }
      Glibc.exit(code == .success ? 0 : code == .failure ? 1 : 2)
    }
  }
}

/// Why a command ends without having done its work: a sentence that names the object and the next step.
struct Failure: Error {
  var message: String
  var code: Int32 = 1
  init(_ message: String) { self.message = message }
}

func complain(_ message: String, prefix: String = "vaultfs: ") {
  let bytes = Array("\(prefix)\(message)\n".utf8)
  _ = write(2, bytes, bytes.count)
}

/// The path as the file system resolves it; itself where it does not resolve.
func resolved(_ path: String) -> String {
  guard let full = realpath(path, nil) else { return absolute(path) }
  defer { free(full) }
  return String(cString: full)
}

private func absolute(_ path: String) -> String {
  if path.hasPrefix("/") { return path }
  guard let current = getcwd(nil, 0) else { return path }
  defer { free(current) }
  return "\(String(cString: current))/\(path)"
}
