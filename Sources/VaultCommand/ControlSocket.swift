// The owner's socket: a Unix socket `socket` inside the vault, where other programs ask the process that owns it.
//
// One line of request, one answer, end. Who may ask: root and the vault's owner, by the kernel's word (SO_PEERCRED).
// What a stranger can name is bounded: a request has at most 256 bytes and five seconds.
// An address has room for 107 bytes only: both sides go through the vault's open directory, whose name is short.

import FuseBridge
import Glibc
import VaultFS

final class ControlSocket: Sendable {
  static let name = "socket"
  private let descriptor: Int32
  private let directory: Int32

  /// - Parameter requests: how many of each kind the kernel has sent.
  init(_ vault: Vault, requests: @escaping @Sendable () -> [String: UInt64]) throws {
    directory = unsafe open(vault.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard directory >= 0, descriptor >= 0 else { throw Failure("cannot make a socket in \(vault.path): \(systemWords(errno))") }
    unsafe unlinkat(directory, Self.name, 0)
    guard unsafe Self.withAddress(in: directory, { unsafe bind(descriptor, $0, $1) }) == 0, unsafe fchmodat(directory, Self.name, 0o600, 0) == 0,
      listen(descriptor, 16) == 0 else {
      throw Failure("cannot listen on \(vault.path)/\(Self.name): \(systemWords(errno))")
    }
    let listener = descriptor
    var thread = pthread_t()
    let work = unsafe Unmanaged.passRetained(Work(listener, vault, requests))
    let failure = unsafe pthread_create(&thread, nil, { raw in
      unsafe Unmanaged<Work>.fromOpaque(raw!).takeRetainedValue().serve()
      return nil
    }, unsafe work.toOpaque())
    guard failure == 0 else {
      unsafe work.release()
      throw Failure("no thread left to answer on \(vault.path)/\(Self.name): \(systemWords(failure))")
    }
    pthread_detach(thread)
  }

  func close() {
    unsafe unlinkat(directory, Self.name, 0)
    Glibc.close(directory)
    shutdown(descriptor, Int32(SHUT_RDWR))
    Glibc.close(descriptor)
  }

  /// Asks the owner of the vault at `vault`; nil if nobody answers within five seconds.
  static func ask(_ vault: Path, _ request: String) -> String? {
    let directory = unsafe vault.withCString { unsafe open($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
    guard directory >= 0 else { return nil }
    defer { Glibc.close(directory) }
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return nil }
    defer { Glibc.close(descriptor) }
    setTimeout(descriptor)
    guard unsafe withAddress(in: directory, { unsafe connect(descriptor, $0, $1) }) == 0 else { return nil }
    let bytes = Array("\(request)\n".utf8)
    guard unsafe send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else { return nil }
    var answer: [UInt8] = [], buffer = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = unsafe read(descriptor, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      if count <= 0 { return answer.isEmpty ? nil : String(decoding: answer, as: UTF8.self) }
      answer += buffer[0..<count]
    }
  }

  /// `struct ucred` of unix(7), which Glibc's module does not show.
  private struct PeerCredentials {
    var process: Int32 = 0
    var user: UInt32 = .max
    var group: UInt32 = .max
  }

  private final class Work: Sendable {
    let listener: Int32
    let vault: Vault
    let requests: @Sendable () -> [String: UInt64]
    init(_ listener: Int32, _ vault: Vault, _ requests: @escaping @Sendable () -> [String: UInt64]) {
      (self.listener, self.vault, self.requests) = (listener, vault, requests)
    }

    func serve() {
      while true {
        let client = accept(listener, nil, nil)
        if client < 0 {
          // Closed by us.
          if [EBADF, EINVAL, ENOTSOCK].contains(errno) { return }
          // No descriptor or memory left: that passes. (ECONNABORTED, EINTR: the next one.)
          if errno != EINTR, errno != ECONNABORTED { usleep(100_000) }
          continue
        }
        answer(client)
        Glibc.close(client)
      }
    }

    private func answer(_ client: Int32) {
      var peer = PeerCredentials(), length = socklen_t(MemoryLayout<PeerCredentials>.size)
      guard unsafe getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0, peer.user == 0 || peer.user == geteuid() else { return }
      ControlSocket.setTimeout(client)
      var request = [UInt8](repeating: 0, count: 256)
      let count = unsafe read(client, &request, request.count)
      guard count > 0 else { return }
      let reply = switch String(decoding: request[0..<count], as: UTF8.self) {
      // Waits for nothing in the vault: it says only that there is an owner, and that it serves its mount.
      case "ping\n": "{}"
      case "status\n": StatusReport(vault.status(), requests: requests()).json
      default: #"{"error":"unknown request"}"#
      }
      let bytes = Array(reply.utf8)
      _ = unsafe send(client, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }
  }

  private static func setTimeout(_ descriptor: Int32) {
    var limit = timeval(tv_sec: 5, tv_usec: 0)
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] { unsafe setsockopt(descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size)) }
  }

  private static func withAddress<R>(in directory: Int32, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: "/proc/self/fd/\(directory)/\(name)".utf8) }
    return unsafe withUnsafePointer(to: &address) {
      unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
  }
}
