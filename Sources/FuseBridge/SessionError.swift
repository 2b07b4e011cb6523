// Why a mount did not come to be, or ended badly: each names the object and the way out.

import Printable

/// An error of `Session`. `description` is meant for the person who gave the command.
public enum SessionError: Error, Sendable, CustomStringConvertible {
  case mountPointMissing(path: String)
  case mountPointNotDirectory(path: String)
  /// What a killed file system leaves behind.
  case mountPointStale(path: String)
  case mountPointRefused(path: String, Errno)
  case deviceMissing
  case deviceRefused(Errno)
  case helperMissing
  case helperNotPrivileged(path: String)
  case userUnknown(UInt32)
  case allowOtherForbidden
  case option(String, String)
  /// - Parameter detail: libfuse's own words and fusermount3's, if any.
  case mountFailed(path: String, detail: String)
  case libraryFailed(detail: String)
  case unmountBusy(path: String)
  /// - Parameter by: what lies on it.
  case mountCovered(path: String, by: String)
  case unmountFailed(path: String, detail: String)
  case alreadyMounted(path: String)
  case notMounted
  case deviceFailed(Errno)

  public var description: String {
    switch self {
    case .mountPointMissing(let path):
      "the mount point \(path) does not exist; make it with `mkdir \(shellQuoted(path))`"
    case .mountPointNotDirectory(let path):
      "the mount point \(path) is not a directory; give an (empty) directory"
    case .mountPointStale(let path):
      "\(path) is the mount of a file system that died; free it with `fusermount3 -uz \(shellQuoted(path))` and mount again"
    case .mountPointRefused(let path, let errno):
      "cannot use the mount point \(path): \(errno); give a directory that you own and may write to"
    case .deviceMissing:
      "/dev/fuse does not exist: the kernel has no FUSE; as root, run `modprobe fuse` (in a container, pass `--device /dev/fuse`)"
    case .deviceRefused(let errno):
      "cannot open /dev/fuse: \(errno); as root, run `chmod 666 /dev/fuse`, or mount as root (a container also needs CAP_SYS_ADMIN)"
    case .helperMissing:
      "fusermount3 is not in /usr/bin nor in PATH, and only root mounts without it; install the package `fuse3`"
    case .helperNotPrivileged(let path):
      "\(path) is not set-uid root, so it cannot mount for you; as root, run `chown root \(shellQuoted(path)) && chmod u+s \(shellQuoted(path))`"
    case .userUnknown(let user):
      "user \(user) has no name (no entry in /etc/passwd), and fusermount3 mounts for nobody without one; as root, give it one with `useradd`, or mount as another user"
    case .allowOtherForbidden:
      "allow_other is not permitted to ordinary users here; as root, add the line `user_allow_other` to /etc/fuse.conf, or leave it out"
    case .option(let option, let reason):
      "the mount option `\(option)` cannot be used: \(reason)"
    case .mountFailed(let path, let detail):
      "cannot mount on \(path)\(detail.isEmpty ? "" : ": " + detail); see also `dmesg`, and whether this user may mount there (root, or fusermount3)"
    case .libraryFailed(let detail):
      "libfuse refused to start\(detail.isEmpty ? "" : ": " + detail)"
    case .unmountBusy(let path):
      "\(path) is in use: a program has a file open or its working directory there (`fuser -vm \(shellQuoted(path))` shows which); close it"
    case .mountCovered(let path, let by):
      "\(path) is covered by another mount (\(by)); unmount that first: `umount \(shellQuoted(path))`"
    case .unmountFailed(let path, let detail):
      "cannot unmount \(path): \(detail)"
    case .alreadyMounted(let path):
      "this session is already mounted on \(path); unmount it first, or make another session"
    case .notMounted:
      "this session is not mounted; call mount(at:) before run()"
    case .deviceFailed(let errno):
      "the connection to the kernel broke: \(errno); unmount and mount again"
    }
  }
}
