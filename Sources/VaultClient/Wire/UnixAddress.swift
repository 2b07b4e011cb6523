// Unix sockets by the path of their directory. An address has room for 107 bytes only: both sides go through the open
// directory, whose name in /proc is short.

import Glibc

struct UnixAddress {
  /// The directory's path, bytes.
  let directory: [UInt8]
  let name: String

  /// The directory, open. The caller closes it.
  func openDirectory() -> Int32 {
    unsafe (directory + [0]).withUnsafeBytes { unsafe open($0.baseAddress!.assumingMemoryBound(to: CChar.self), O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
  }

  static func makeSocket() -> Int32 { socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0) }

  /// - Returns: a connected socket.
  /// - Throws: what the system says.
  func connect() throws(ChannelError) -> Int32 {
    let directory = openDirectory()
    guard directory >= 0 else { throw .system(errno) }
    defer { close(directory) }
    let descriptor = Self.makeSocket()
    guard descriptor >= 0 else { throw .system(errno) }
    // Where nobody accepts, connecting waits for that long at most.
    Channel.setTimeouts(descriptor)
    guard unsafe Self.with(name, in: directory, { unsafe Glibc.connect(descriptor, $0, $1) }) == 0 else {
      let code = errno
      close(descriptor)
      throw .system(code)
    }
    return descriptor
  }

  /// - Parameter directory: open.
  static func with<R>(_ name: String, in directory: Int32, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: "/proc/self/fd/\(directory)/\(name)".utf8.prefix($0.count - 1)) }
    return unsafe withUnsafePointer(to: &address) {
      unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
  }
}
