// How a mount shall be: what df(1) shows, who may enter, how requests flow.

import Printable

/// Options of a `Session`. The defaults suit a file system that is the only owner of its data.
public struct SessionOptions: Sendable {
  /// What df(1) and /proc/mounts show as the source.
  public var name: String
  /// The part after `fuse.` in the mount's type.
  public var subtype: String
  /// Users other than the one who mounts may enter. Ordinary users need `user_allow_other` in /etc/fuse.conf.
  public var allowOther = false
  public var readOnly = false
  /// The kernel checks modes and owners. Where false, the file system checks every call itself.
  public var defaultPermissions = true
  /// Further mount options as given to `-o`, each one of: `suid`, `dev` (root only; the default is
  /// `nosuid,nodev`), `noexec`, `noatime`, `sync`, `dirsync`, their opposites, `ro`, `rw`, `allow_other`,
  /// `default_permissions`, and SELinux's `context=` family.
  public var mountOptions: [String] = []

  /// Threads that answer requests, 1…64; all are there from the start.
  public var threads = 4
  /// Bytes; the largest write request, 4 KiB…1 MiB.
  public var maxWrite = 1 << 20
  /// Bytes; can only lower what the kernel offers (128 KiB). nil leaves it.
  public var maxReadAhead: Int?
  /// KiB; how far the kernel reads ahead, set after mounting. Needs root, and is left alone where
  /// that fails. 1024 makes reads arrive in 1 MiB requests. nil leaves it.
  public var readAheadKiB: Int?
  /// Read-ahead and other background requests the kernel keeps in flight, 1…65535.
  public var maxBackground = 64

  /// The kernel uses POSIX ACLs; see `Capabilities.posixACL` for what the file system then owes.
  public var posixACL = true
  public var readDirectoryPlus = true
  /// Cached data is dropped when `Session.invalidate` says so. Where false, the kernel drops a
  /// file's pages whenever it sees a new modification time or size.
  public var explicitInvalidation = true
  /// The file system finds nodes by number after a restart, and answers lookups of `.` and `..`.
  public var exportable = false
  /// Agree on what libfuse 3.14 leaves out: `Capabilities.parallelDirectoryOperations` and
  /// `.clearsPrivileges`. Off gives exactly what libfuse negotiates.
  public var completesHandshake = true

  public init(name: String, subtype: String) { (self.name, self.subtype) = (name, subtype) }
}

extension SessionOptions {
  /// Mount options that may be given; those of `knownPrefixes` with a value.
  public static let known: Set<String> = [
    "suid", "nosuid", "dev", "nodev", "exec", "noexec", "atime", "noatime", "sync", "async", "dirsync", "ro", "rw",
    "allow_other", "default_permissions",
  ]
  public static let knownPrefixes = ["context=", "fscontext=", "defcontext=", "rootcontext="]

  public static func knows(_ option: String) -> Bool { known.contains(option) || knownPrefixes.contains(where: option.hasPrefix) }

  var admitsOthers: Bool { allowOther || mountOptions.contains("allow_other") }

  /// Checks what the kernel would refuse without a reason, or libfuse would not understand.
  public func validate(isRoot: Bool) throws(SessionError) {
    for option in mountOptions {
      if option == "auto_unmount" {
        throw .option(option, "leave it out: a watcher that unmounts on a crash would hide the crash; use `fusermount3 -uz` on the mount point")
      }
      guard Self.knows(option) else {
        throw .option(option, "it is not known; known are \(Self.known.sorted().joined(separator: ", ")) and \(Self.knownPrefixes.joined(separator: ", "))")
      }
      if !isRoot, option == "suid" || option == "dev" { throw .option(option, "only root may mount with it; leave it out or mount as root") }
    }
    if !(1...64).contains(threads) { throw .option("threads=\(threads)", "give 1 to 64") }
    if !(4096...(1 << 20)).contains(maxWrite) { throw .option("maxWrite=\(maxWrite)", "give 4096 to 1048576 bytes") }
    if !(1...65535).contains(maxBackground) { throw .option("maxBackground=\(maxBackground)", "give 1 to 65535") }
    if let readAheadKiB, !(0...(1 << 20)).contains(readAheadKiB) { throw .option("readAheadKiB=\(readAheadKiB)", "give 0 to 1048576") }
    for text in [name, subtype] where text.utf8.contains(0) || text.utf8.contains(10) {
      throw .option("fsname=\(printable(text.utf8))", "it must not hold a NUL or a line break")
    }
  }

  /// Arguments for libfuse, the first being the program's name.
  var arguments: [String] {
    // libfuse splits at commas and takes a backslash as "the next character as it is".
    func escaped(_ text: String) -> String {
      // Not by `Character`: a comma may carry an accent.
      String(String.UnicodeScalarView(text.unicodeScalars.flatMap { $0 == "," || $0 == "\\" ? ["\\", $0] : [$0] }))
    }
    var options = ["fsname=\(escaped(name))", "subtype=\(escaped(subtype))"]
    if allowOther { options.append("allow_other") }
    if defaultPermissions { options.append("default_permissions") }
    options += mountOptions.map(escaped)
    if readOnly { options.append("ro") }
    return ["fuse"] + options.flatMap { ["-o", $0] }
  }
}
