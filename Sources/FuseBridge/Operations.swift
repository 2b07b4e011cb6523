// libfuse's table of callbacks. Each entry is one shape: take the request, check what the kernel
// sent, ask the file system, answer.
//
// What must stay true:
// 1. Callbacks capture nothing and live in nonisolated functions. Written where a global actor
//    reigns (top level of main.swift), they compile and then die on libfuse's threads.
// 2. Pointers from libfuse end with the callback; what the file system keeps is copied.
// 3. Absent on purpose: `access` (default_permissions answers), `getlk`, `setlk`, `flock` (local
//    locks are right for a file system with one owner), `poll` and `bmap` (the kernel's own answer).

import CFuse3
import Glibc

enum Operations {
  static func table() -> fuse_lowlevel_ops {
    var table = fuse_lowlevel_ops()
    unsafe table.`init` = { userData, connection in unsafe Bridge.of(userData: userData).negotiate(&connection!.pointee) }
    addNames(to: &table)
    addNodes(to: &table)
    addFiles(to: &table)
    addDirectories(to: &table)
    addXattrs(to: &table)
    return table
  }
}
