// How far long work is: one line on a terminal that is written anew, nothing elsewhere; and Ctrl-C, which ends the work
// in order.
//
// What must stay true: standard output never sees any of it.

import Glibc
import Printable
import Synchronization
public import VaultClient

/// Whether somebody has pressed Ctrl-C, or asked with SIGTERM or SIGHUP, since `hear`. The second time, half a second later or more,
/// ends the program at once. (timeout(1) sends each signal twice.)
public enum Interruption {
  /// By the monotonic clock, seconds; 0: it has not come.
  private static let first = Atomic<Double>(0)
  private static let apart = 0.5

  public static func hear() {
    first.store(0, ordering: .relaxed)
    for signal in [SIGINT, SIGTERM, SIGHUP] {
      Glibc.signal(signal) { number in
        // Nothing here but what signal-safety(7) lists.
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        let now = Double(time.tv_sec) + Double(time.tv_nsec) / 1e9, came = Interruption.first.load(ordering: .relaxed)
        if came == 0 { return Interruption.first.store(now, ordering: .relaxed) }
        guard now - came >= Interruption.apart else { return }
        Glibc.signal(number, SIG_DFL)
        raise(number)
      }
    }
  }
  public static var came: Bool { first.load(ordering: .relaxed) > 0 }
}

public final class ProgressLine {
  private let title: String
  private let isShown = isatty(2) == 1
  private let start = ContinuousClock.now
  private var isOpen = false

  /// - Parameter title: what is done, with what.
  public init(_ title: String) { self.title = title }

  /// A receiver that shows progress, and gives up where `Interruption` came.
  /// - Parameter words: what is to be said then.
  public func receiver<Item>(interrupted words: String, item: @escaping (Item) throws -> Void) -> Receiver<Item> {
    func goOn() throws { if Interruption.came { throw Failure(words) } }
    return Receiver(
      progress: { progress in
        try goOn()
        self.show(progress)
      }, item: item, checkCancelled: goOn)
  }

  /// A receiver that shows progress; where `Interruption` came, the work is ended, and what came of it is waited for.
  public func cancellingReceiver<Item>() -> Receiver<Item> {
    var receiver = Receiver<Item>(progress: { self.show($0) }, checkCancelled: { if Interruption.came { throw Failure("interrupted") } })
    receiver.isCancelled = { Interruption.came }
    return receiver
  }

  /// Takes the line away.
  public func end() {
    if isOpen { complain("\r\u{1B}[K", prefix: "", end: "") }
    isOpen = false
  }

  private func show(_ progress: Progress) {
    guard isShown else { return }
    complain("\r\(title): \(Self.text(progress, after: ContinuousClock.now - start))\u{1B}[K", prefix: "", end: "")
    isOpen = true
  }

  static func text(_ progress: Progress, after time: Duration) -> String {
    var text = progress.what
    guard let total = progress.total, total > 0 else { return text }
    let share = min(Double(progress.done) / Double(total), 1)
    text += ", \(Int(share * 100)) %"
    if progress.isBytes == true { text += " of \(human(total))" }
    let seconds = Double(time.components.seconds) + Double(time.components.attoseconds) / 1e18
    // A guess after a moment would be none.
    let left = progress.secondsLeft ?? (share > 0.02 && seconds > 1 ? seconds / share * (1 - share) : nil)
    if let left { text += ", \(duration(left)) left" }
    return text
  }

  /// In the two units that say enough.
  public static func duration(_ seconds: Double) -> String {
    let all = Int64(min(max(seconds.rounded(.up), 0), 1e12))
    for (unit, length, next, part) in [("d", Int64(86_400), "h", Int64(3600)), ("h", 3600, "min", 60), ("min", 60, "s", 1)] where all >= length {
      let rest = all % length / part
      return rest > 0 ? "\(all / length) \(unit) \(rest) \(next)" : "\(all / length) \(unit)"
    }
    return "\(all) s"
  }
}
