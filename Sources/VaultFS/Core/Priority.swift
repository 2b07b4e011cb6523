// What is done for later gives way to what somebody waits for.
//
// What must stay true: whoever is gentle holds locks that others wait for, and must not starve where other programs need the computer.

import Glibc

public enum Priority {
  /// A tenth of what others get, about (setpriority(2), on Linux of a thread).
  private static let nice: Int32 = 10

  /// Of the thread that calls, from now on.
  public static func giveWay() { _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, nice) }
}
