// Where sockets for everyone are, each named by the device number of a mount.
//
// What must stay true: nobody but root can put a name there; and a socket goes only where nothing is mounted from its
// device and nobody listens at it.

import Glibc

enum PublicDirectory {
  static let path = "/run/vaultfs"

  /// Made where it is missing; refused where others could put sockets of their own there.
  static func open() throws(ServiceError) -> Int32 {
    let isNew = unsafe mkdir(path, 0o755) == 0
    let directory = unsafe Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
    guard directory >= 0 else { throw ServiceError(.disk, "cannot open \(path): \(systemWords(errno))") }
    var info = stat()
    // Whatever our umask is.
    if isNew { fchmod(directory, 0o755) }
    guard unsafe fstat(directory, &info) == 0, info.st_uid == 0, info.st_mode & 0o022 == 0 else {
      Glibc.close(directory)
      throw ServiceError(.notPermitted, "\(path) does not belong to root alone; remove it, and mount again")
    }
    return directory
  }

  /// Removes the sockets that killed owners left.
  static func sweep(_ directory: Int32) {
    let mounted = mountedDevices()
    for name in names(in: directory) where !mounted.contains(name) {
      do throws(ChannelError) { close(try UnixAddress(directory: Array(path.utf8), name: name).connect()) } catch {
        if case .system(ECONNREFUSED) = error { unsafe unlinkat(directory, name, 0) }
      }
    }
  }

  private static func names(in directory: Int32) -> [String] {
    guard let stream = unsafe fdopendir(dup(directory)) else { return [] }
    defer { unsafe closedir(stream) }
    var names: [String] = []
    while let entry = unsafe readdir(stream) {
      let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if name.first?.isNumber == true { names.append(name) }
    }
    return names
  }

  /// `major:minor` of everything that is mounted, as proc_pid_mountinfo(5) has it third on each line.
  private static func mountedDevices() -> Set<String> {
    var devices: Set<String> = []
    guard let file = unsafe fopen("/proc/self/mountinfo", "re") else { return devices }
    defer { unsafe fclose(file) }
    var line: UnsafeMutablePointer<CChar>?, capacity = 0
    defer { unsafe free(line) }
    while unsafe getline(&line, &capacity, file) > 0 {
      let words = unsafe String(cString: line!).split(separator: " ", maxSplits: 3)
      if words.count > 2 { devices.insert(String(words[2])) }
    }
    return devices
  }
}
