// The command `fsctl`: asks a vault, and tells it what to do, while it is in use.
//
// Exit codes: 0 done, 1 failed (a message on standard error says what and what to do), 2 wrongly called.

import ArgumentParser
import CommandSupport
import Glibc

@main
struct Fsctl: ManualHaving {
  static let configuration = CommandConfiguration(
    commandName: "fsctl",
    abstract: "Look into a vault, and tell it what to do, while it is in use.",
    discussion: """
      A vault is named by a PATH inside its mount, by default the working directory, or by its folder.

        fsctl stats ~/files                 what it holds and costs
        fsctl top ~/files                   what it is doing
        fsctl sync ~/files                  everything on disk now
        fsctl stats --vault ~/vault         the same vault, mounted or not
        fsctl versions list ~/files/report  what a file was
        fsctl trash list                    what was deleted
        fsctl quota set --user ada --bytes 10G
                                            how much she may store
        fsctl check ~/files                 whether it is sound

      Root and the user a vault belongs to may do everything; others what the modes of files and directories let them, \
      where root mounted the vault with --allow-other.
      """,
    version: "fsctl 0.1",
    subcommands: [Versions.self, SnapshotCommand.self, Trash.self, QuotaCommand.self, Stats.self, Top.self, Sync.self, GC.self, Check.self, ScrubCommand.self, ManPage<Fsctl>.self])

  static func main() {
    settle()
    let arguments = Array(Arguments.given.dropFirst())
    Glibc.exit(misnamed(arguments) ?? misspelled(arguments) ?? run(arguments))
  }
}
