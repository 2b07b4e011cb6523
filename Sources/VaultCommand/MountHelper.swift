// The program as mount(8) calls it: another order of arguments, other exit codes.

import FuseBridge
import VaultFS

/// mount(8) calls `mount.vaultfs SOURCE DIR [-sfnv] [-o options] [-t type]`.
/// mount.fuse3(8), for `-t fuse.vaultfs`, calls `vaultfs SOURCE DIR -o options`.
enum MountHelper {
  /// - Returns: the arguments of `vaultfs mount`, where it was mount(8) that called `program`.
  static func arguments(_ program: String, _ given: [String], commands: [String]) -> [String]? {
    if program.split(separator: "/").last?.hasPrefix("mount.") == true { return translate(given) }
    // A command has no slash, and no `-o` behind it but `mount`.
    guard let source = given.first, !source.hasPrefix("-"), given.count > 1, !commands.contains(source), source != "help" else { return nil }
    return source.contains("/") || given.count > 3 && given[2] == "-o" ? translate(given) : nil
  }

  /// mount(8) has its own: 1 wrongly called, 32 mount failed.
  static func exitCode(_ code: Int32) -> Int32 { [0: 0, 2: 1][code] ?? 32 }

  static func translate(_ arguments: [String]) -> [String] {
    var result = ["mount"], rest = arguments[...]
    while let argument = rest.popFirst() {
      switch argument {
      case "-t", "-N": _ = rest.popFirst()
      // "Fake": everything but the mount itself.
      case "-f": result.append("--fake")
      case "-s", "-n", "-v", "-i", "-w", "-rw": break
      case "-r": result.append("--read-only")
      case let flags where isFlags(flags): rest = flags.dropFirst().map { "-\($0)" } + rest
      default: result.append(argument)
      }
    }
    return result
  }

  /// Several in one word, such as `-fnv`.
  private static func isFlags(_ word: String) -> Bool {
    word.utf8.count > 2 && word.hasPrefix("-") && word.dropFirst().allSatisfy { "sfnvirw".contains($0) }
  }
}
