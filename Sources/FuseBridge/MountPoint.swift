// A directory to mount on: checked before libfuse tries, because libfuse's reasons go to standard
// error and name no way out. Nothing here touches the mount once it is there.

import Glibc

struct MountPoint: Sendable {
  /// Absolute, without symlinks, so that unmounting works from any working directory.
  let path: [UInt8]

  /// - Throws: why this user cannot mount here.
  init(checking given: [UInt8], options: SessionOptions) throws(SessionError) {
    let shown = display(given)
    guard !given.isEmpty, !given.contains(0) else { throw .mountPointMissing(path: shown) }
    var status = stat()
    if withPath(given, { stat($0, &status) }) != 0 {
      switch errno {
      case ENOENT: throw .mountPointMissing(path: shown)
      case ENOTCONN: throw .mountPointStale(path: shown)
      default: throw .mountPointRefused(path: shown, .current)
      }
    }
    guard status.st_mode & S_IFMT == S_IFDIR else { throw .mountPointNotDirectory(path: shown) }
    guard let resolved = withPath(given, { realpath($0, nil) }) else { throw .mountPointRefused(path: shown, .current) }
    defer { free(resolved) }
    path = bytes(of: resolved)

    try Self.checkDevice()
    if geteuid() != 0 {
      guard withPath(path, { access($0, W_OK) }) == 0 else { throw .mountPointRefused(path: shown, .current) }
      try Self.checkHelper()
      if options.admitsOthers, !Self.configurationAllowsOther { throw .allowOtherForbidden }
    }
  }

  private static func checkDevice() throws(SessionError) {
    let descriptor = open("/dev/fuse", O_RDWR | O_CLOEXEC)
    if descriptor >= 0 {
      close(descriptor)
    } else if errno == ENOENT || errno == ENODEV || errno == ENXIO {
      throw .deviceMissing
    } else {
      throw .deviceRefused(.current)
    }
  }

  /// libfuse looks in its own directory, then in PATH.
  private static func checkHelper() throws(SessionError) {
    var folders = ["/usr/bin", "/bin", "/usr/local/bin"]
    if let search = getenv("PATH") { folders += String(cString: search).split(separator: ":").map(String.init) }
    for folder in folders {
      let helper = folder + "/fusermount3"
      var status = stat()
      guard stat(helper, &status) == 0, access(helper, X_OK) == 0 else { continue }
      guard status.st_uid == 0, status.st_mode & S_ISUID != 0 else { throw .helperNotPrivileged(path: helper) }
      return
    }
    throw .helperMissing
  }

  /// fusermount3 wants the word on a line by itself. Where the file cannot be read, let it decide.
  private static var configurationAllowsOther: Bool {
    guard let file = fopen("/etc/fuse.conf", "re") else { return errno != ENOENT }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 1024)
    while fgets(&line, Int32(line.count), file) != nil {
      let text = line.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }
      if text.split(separator: 32).map(Array.init) == [Array("user_allow_other".utf8)] { return true }
    }
    return false
  }
}

extension MountPoint {
  /// Sets how far the kernel reads ahead on this mount; best effort, needs root.
  ///
  /// INIT can only lower it. The device number comes from /proc, not stat(2): looking at our own
  /// mount from inside would wait for ourselves.
  func setReadAhead(kiB: Int) {
    guard let device else { return }
    let descriptor = open("/sys/class/bdi/\(device)/read_ahead_kb", O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    let text = Array("\(kiB)".utf8)
    _ = text.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
  }

  /// `major:minor` of what is mounted here last, from /proc/self/mountinfo.
  var device: String? { Self.device(of: path) }

  /// Takes `device` off this place if it is still there, lazily.
  ///
  /// libfuse takes a connection that was aborted (`umount -f`, or through /sys/fs/fuse) for one that
  /// was unmounted, and would leave the dead mount behind.
  func detach(device: String) {
    guard self.device == device else { return }
    if geteuid() == 0 {
      _ = withPath(path) { umount2($0, Int32(MNT_DETACH)) }
      return
    }
    var arguments: [UnsafeMutablePointer<CChar>?] = ["fusermount3", "-u", "-q", "-z", "--"].map { (word: String) in strdup(word) }
    arguments += [withPath(path) { strdup($0) }, nil]
    defer { for argument in arguments { free(argument) } }
    var child = pid_t()
    if posix_spawnp(&child, "fusermount3", nil, nil, arguments, nil) == 0 {
      while waitpid(child, nil, 0) < 0, errno == EINTR {}
    }
  }

  private static func device(of path: [UInt8]) -> String? {
    guard let file = fopen("/proc/self/mountinfo", "re") else { return nil }
    defer { fclose(file) }
    var line: UnsafeMutablePointer<CChar>?
    var capacity = 0
    defer { free(line) }
    var found: String?
    while getline(&line, &capacity, file) > 0 {
      // 36 35 98:0 /root /mount\040point rw,... - type source options
      let fields = bytes(of: line).split(separator: 32)
      if fields.count > 4, Self.unescaped(fields[4]) == path { found = String(decoding: fields[2], as: UTF8.self) }
    }
    return found
  }

  /// The kernel writes space, tab, newline and backslash as `\` and three octal digits.
  private static func unescaped(_ field: ArraySlice<UInt8>) -> [UInt8] {
    var result: [UInt8] = []
    var rest = field
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "\\"), rest.count >= 3, let value = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8) {
        result.append(value)
        rest = rest.dropFirst(3)
      } else {
        result.append(byte)
      }
    }
    return result
  }
}

/// Calls `body` with `path` as a C string.
func withPath<Result>(_ path: [UInt8], _ body: (UnsafePointer<CChar>) -> Result) -> Result {
  (path + [0]).withUnsafeBytes { body($0.baseAddress!.assumingMemoryBound(to: CChar.self)) }
}
