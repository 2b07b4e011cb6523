// How a command runs, from its arguments to its exit code: 0 done, 1 failed (a message on standard error says what and
// what to do), 2 wrongly called, 141 whoever read standard output has left.

public import ArgumentParser
import Glibc
import Printable
import VaultClient
import VaultFS

extension ParsableCommand {
  /// What every command stands on; first of all.
  public static func settle() {
    Program.name = _commandName
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

  /// The names of the commands below this one that people are told of.
  public static var commands: [String] { configuration.subcommands.filter { $0.configuration.shouldDisplay }.map { $0._commandName } }

  /// What ArgumentParser would answer without a hint.
  /// - Returns: an exit code, where that was said.
  public static func misnamed(_ arguments: [String]) -> Int32? {
    guard arguments.first == "help", arguments.count > 1, !arguments[1].hasPrefix("-"), !commands.contains(arguments[1]) else { return nil }
    complain("there is no command `\(printable(arguments[1].utf8))`; there are \(commands.joined(separator: ", "))")
    return 2
  }

  /// Parses and runs.
  /// - Returns: the exit code.
  public static func run(_ arguments: [String]) -> Int32 {
    do {
      var command = try parseAsRoot(arguments)
      try command.run()
      return 0
    } catch let failure as Failure {
      if !failure.message.isEmpty { complain(failure.message) }
      return failure.code
    } catch let error as VaultError {
      complain("\(error)")
      return 1
    } catch let error as ServiceError {
      complain("\(error)")
      return 1
    } catch {
      let code = exitCode(for: error), text = fullMessage(for: error)
      guard code == .success else {
        if !text.isEmpty { complain(text, prefix: "") }
        return code == .failure ? 1 : 2
      }
      do { try say(text) } catch {
        if !"\(error)".isEmpty { complain("\(error)") }
        return (error as? Failure)?.code ?? 1
      }
      return 0
    }
  }
}
