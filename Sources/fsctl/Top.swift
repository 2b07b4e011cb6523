// `fsctl top`: what a vault is doing, a sample at a time.

import ArgumentParser
import CommandSupport
import Glibc
import VaultClient

struct Top: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "top", abstract: "Show what a mounted vault is doing: operations per second, how long they take, bytes read and written.",
    discussion: """
      Redraws in a terminal, each INTERVAL, until you end it with Ctrl-C; elsewhere it writes one sample after another. \
      What the kernel answers from its own caches never comes to the vault, and is not in these numbers. \
      For root and the vault's owner.
      """)

  @OptionGroup var address: VaultAddress
  @Flag(help: "Show one sample and end.") var once = false
  @OptionGroup var sizes: SizeOption
  @Flag(help: "One JSON object a sample, a line each; times in seconds, sizes in bytes.") var json = false
  @Option(help: "Seconds from one sample to the next.") var interval = 1.0

  func validate() throws {
    guard (0.1...3600).contains(interval) else { throw ValidationError("an interval is from 0.1 to 3600 seconds") }
  }

  /// Of the terminal.
  private static var height: Int {
    // `struct winsize` of ioctl_tty(2), which Glibc's module does not show: rows, columns, and both in pixels.
    var size: (rows: UInt16, columns: UInt16, UInt16, UInt16) = (0, 0, 0, 0)
    return unsafe ioctl(1, UInt(TIOCGWINSZ), &size) == 0 && size.rows > 0 ? Int(size.rows) : .max
  }

  func run() throws {
    let vault = try address.reach(purpose: nil)
    let redraws = !once && !json && isatty(1) == 1
    var before = try vault.service.activity()
    while true {
      usleep(UInt32(interval * 1_000_000))
      let now = try vault.service.activity()
      let sample = Sample(from: before, to: now)
      if json { try say(asJSON(sample)) } else {
        // To the upper left corner; below the text, clear.
        try say((redraws ? "\u{1B}[H\u{1B}[2J" : "") + sample.text(of: "\(vault.folder)", sizes, lines: redraws ? Self.height : .max))
      }
      if once { return }
      before = now
    }
  }
}
