// The command `vaultfs`: makes vaults, mounts and unmounts them, tells of them, rebuilds them.
// Installed (or linked) as `mount.vaultfs` it is what mount(8) and fstab(5) call.
//
// Exit codes: 0 done, 1 failed (a message on standard error says what and what to do), 2 wrongly called.

import ArgumentParser
import FuseBridge
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
    settle()
    var arguments = Arguments.given
    let program = arguments.isEmpty ? "" : arguments.removeFirst()
    if let translated = MountHelper.arguments(program, arguments, commands: commands) { Glibc.exit(MountHelper.exitCode(run(translated))) }
    Glibc.exit(misnamed(arguments) ?? run(arguments))
  }

  private static var commands: [String] { configuration.subcommands.map { $0._commandName } }

  /// What ArgumentParser would let pass, or answer without a hint.
  private static func misnamed(_ arguments: [String]) -> Int32? {
    let shown = printable((arguments.dropFirst().first ?? "").utf8)
    if arguments.first == "help", arguments.count > 1, !arguments[1].hasPrefix("-"), !commands.contains(arguments[1]) {
      complain("there is no command `\(shown)`; there are \(commands.joined(separator: ", "))")
      return 2
    }
    if arguments.first == "umount" {
      complain("there is no command `umount`; did you mean `vaultfs unmount`?")
      return 2
    }
    return nil
  }

  private static func run(_ arguments: [String]) -> Int32 {
    do {
      var command = try parseAsRoot(arguments)
      try command.run()
      return 0
    } catch let failure as Failure {
      complain(failure.message)
      return failure.code
    } catch let error as VaultError {
      complain("\(error)")
      return 1
    } catch {
      let code = exitCode(for: error), text = fullMessage(for: error)
      guard code == .success else {
        if !text.isEmpty { complain(text, prefix: "") }
        return code == .failure ? 1 : 2
      }
      do { try say(text) } catch {
        complain("\(error)")
        return 1
      }
      return 0
    }
  }

  /// What every command stands on.
  private static func settle() {
    // Files opened later must not become standard input or output.
    while case let descriptor = unsafe open("/dev/null", O_RDWR), descriptor >= 0 {
      if descriptor > 2 {
        close(descriptor)
        break
      }
    }
    // Whoever reads what we say may leave: that is an error of one write, not our end.
    signal(SIGPIPE, SIG_IGN)
    umask(0o077)
  }
}

/// Why a command ends without having done its work: a sentence that names the object and the next step.
struct Failure: Error, CustomStringConvertible {
  var message: String
  var code: Int32
  var description: String { message }
  init(_ message: String, code: Int32 = 1) { (self.message, self.code) = (message, code) }
}

/// A line for standard output.
func say(_ text: String) throws {
  var rest = Array("\(text)\n".utf8)[...]
  while !rest.isEmpty {
    let count = unsafe rest.withUnsafeBytes { unsafe write(1, $0.baseAddress, $0.count) }
    if count < 0, errno == EINTR { continue }
    guard count >= 0 else { throw Failure("cannot write to standard output: \(systemWords(errno))") }
    rest = rest.dropFirst(count)
  }
}

/// Words for standard error, a line of their own unless said otherwise.
func complain(_ message: String, prefix: String = "vaultfs: ", end: String = "\n") {
  let bytes = Array("\(prefix)\(message)\(end)".utf8)
  _ = unsafe write(2, bytes, bytes.count)
}

func systemWords(_ code: Int32) -> String { unsafe String(cString: strerror(code)) }
