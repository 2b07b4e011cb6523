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
    Program.hasOutput = fcntl(1, F_GETFD) >= 0
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

  /// What ArgumentParser would answer without a hint: a command that there is none of.
  /// - Returns: an exit code, where that was said.
  public static func misnamed(_ arguments: [String]) -> Int32? {
    var level: any ParsableCommand.Type = self, path = _commandName
    for word in arguments.first == "help" ? arguments.dropFirst() : arguments[...] {
      let all = level.configuration.subcommands
      guard !all.isEmpty, !word.hasPrefix("-") else { return nil }
      if let next = all.first(where: { $0._commandName == word }) {
        (level, path) = (next, "\(path) \(word)")
        continue
      }
      let names = level.commands, near = names.filter { distance(word, $0) <= 2 }
      // A letter is sooner left out than put in.
      let nearest = near.min { (distance(word, $0), $1.utf8.count) < (distance(word, $1), $0.utf8.count) }
      let hint = nearest.map { "did you mean `\(path) \($0)`?" } ?? "there are \(names.joined(separator: ", "))"
      complain("there is no command `\(printable("\(path) \(word)".utf8))`; \(hint)")
      return 2
    }
    return nil
  }

  /// Letters in one word behind one dash would be so many options, `-h` among them; none of ours has a name of one letter but `-h` and `-o`.
  /// - Returns: an exit code, where that was said.
  public static func misspelled(_ arguments: [String]) -> Int32? {
    let options = arguments.prefix { $0 != "--" }
    guard let word = options.first(where: { $0.hasPrefix("-") && !$0.hasPrefix("--") && !$0.hasPrefix("-o") && $0.utf8.count > 2 }) else { return nil }
    complain("there is no option `\(printable(Arguments.bytes(of: word)))`; what begins with a dash and is none comes behind `--`, or is written `./-…`")
    return 2
  }

  /// How many letters lie between two words, two that changed places counting as one (optimal string alignment).
  private static func distance(_ one: String, _ other: String) -> Int {
    let (a, b) = (Array(one.utf8.prefix(32)), Array(other.utf8))
    var rows = [Array(0...b.count)]
    for i in a.indices {
      var row = [i + 1]
      for j in b.indices {
        var least = min(rows[i][j] + (a[i] == b[j] ? 0 : 1), rows[i][j + 1] + 1, row[j] + 1)
        if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { least = min(least, rows[i - 1][j - 1] + 1) }
        row.append(least)
      }
      rows.append(row)
    }
    return rows[a.count][b.count]
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
