// A directory to mount on: checked before libfuse tries, because libfuse's reasons go to standard
// error and name no way out. Nothing here touches the mount once it is there.

import Glibc

struct MountPoint: Sendable {
  /// Absolute, without symlinks, so that unmounting works from any working directory.
  let path: Path

  /// - Throws: why this user cannot mount here.
  init(checking given: Path, options: SessionOptions) throws(SessionError) {
    let shown = given.description
    guard !given.bytes.isEmpty, !given.bytes.contains(0) else { throw .mountPointMissing(path: shown) }
    var status = stat()
    if unsafe given.withCString({ unsafe stat($0, &status) }) != 0 {
      switch errno {
      case ENOENT: throw .mountPointMissing(path: shown)
      case ENOTCONN: throw .mountPointStale(path: shown)
      default: throw .mountPointRefused(path: shown, .current)
      }
    }
    guard status.st_mode & S_IFMT == S_IFDIR else { throw .mountPointNotDirectory(path: shown) }
    guard let resolved = unsafe given.withCString({ unsafe realpath($0, nil) }) else { throw .mountPointRefused(path: shown, .current) }
    defer { unsafe free(resolved) }
    path = unsafe Path(bytes(of: resolved))

    try Self.checkDevice()
    if geteuid() != 0 {
      guard unsafe path.withCString({ unsafe access($0, W_OK) }) == 0 else { throw .mountPointRefused(path: shown, .current) }
      _ = try Fusermount.find()
      guard unsafe getpwuid(geteuid()) != nil else { throw .userUnknown(geteuid()) }
      if options.admitsOthers, !Self.configurationAllowsOther { throw .allowOtherForbidden }
    }
  }

  private static func checkDevice() throws(SessionError) {
    let descriptor = unsafe open("/dev/fuse", O_RDWR | O_CLOEXEC)
    if descriptor >= 0 {
      close(descriptor)
    } else if errno == ENOENT || errno == ENODEV || errno == ENXIO {
      throw .deviceMissing
    } else {
      throw .deviceRefused(.current)
    }
  }

  /// fusermount3 wants the word on a line by itself. Where the file cannot be read, let it decide.
  private static var configurationAllowsOther: Bool {
    guard let file = unsafe fopen("/etc/fuse.conf", "re") else { return errno != ENOENT }
    defer { unsafe fclose(file) }
    var line = [CChar](repeating: 0, count: 1024)
    while unsafe fgets(&line, Int32(line.count), file) != nil {
      let text = line.prefix { $0 != 0 && $0 != 10 }.map { UInt8(bitPattern: $0) }
      if text.split(separator: 32).map(Array.init) == [Array("user_allow_other".utf8)] { return true }
    }
    return false
  }
}

extension MountEntry {
  /// Sets how far the kernel reads ahead on this mount; best effort, needs root.
  ///
  /// INIT can only lower it. The device number comes from /proc, not stat(2): looking at our own
  /// mount from inside would wait for ourselves.
  func setReadAhead(kiB: Int) {
    let descriptor = unsafe open("/sys/class/bdi/\(device)/read_ahead_kb", O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    let text = Array("\(kiB)".utf8)
    _ = unsafe text.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress, $0.count) }
  }
}
