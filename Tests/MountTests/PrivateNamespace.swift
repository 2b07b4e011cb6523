// A mount namespace of its own, for tests that need this computer's directories to be other than they are.
//
// What must stay true: nothing outside changes, and everything inside ends by itself, also where the run is killed.

import Foundation
import Glibc
import Testing

final class PrivateNamespace {
  private let holder: pid_t
  private let process: pid_t

  /// - Parameter setUp: a script that runs in it, as root.
  init(in directory: String, setUp: String) throws {
    let ready = "\(directory)/namespace"
    try "set -e\n\(setUp)\necho $$ > \(ready).new && mv \(ready).new \(ready) && exec sleep 300\n".write(toFile: "\(ready).sh", atomically: true, encoding: .utf8)
    holder = try start("exec unshare --mount --propagation private sh \(ready).sh", seconds: 300)
    var found: pid_t?
    for _ in 0..<500 where found == nil {
      found = (try? String(contentsOfFile: ready, encoding: .utf8)).flatMap { pid_t($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
      usleep(20_000)
    }
    process = try #require(found, "the namespace was not set up")
  }

  /// Goes before a command that shall run in it.
  var enter: String { "nsenter --target \(process) --mount" }

  func isMounted(_ point: String) -> Bool {
    ((try? String(contentsOfFile: "/proc/\(process)/mountinfo", encoding: .utf8)) ?? "").contains(" \(point) ")
  }

  /// Takes the mounts at `points` away, and lets go of the rest.
  func end(unmounting points: String...) {
    for point in points where isMounted(point) { _ = try? shell("\(enter) umount -l \(point)") }
    kill(holder, SIGTERM)
    while waitpid(holder, nil, 0) < 0, errno == EINTR {}
  }
}
