// The owner's socket: a Unix socket `socket` inside the vault, where other programs ask the process that owns it.
//
// One line of request, one answer, end. Who may ask: root and the vault's owner, by the kernel's word (SO_PEERCRED).
// What a stranger can name is bounded: a request has at most 256 bytes and five seconds.

import Glibc
import VaultFS

final class ControlSocket: Sendable {
  static let name = "socket"
  private let descriptor: Int32
  private let path: String

  /// - Parameter requests: how many of each kind the kernel has sent.
  init(_ vault: Vault, requests: @escaping @Sendable () -> [String: UInt64]) throws {
    path = "\(vault.path)/\(Self.name)"
    unlink(path)
    descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw Failure("cannot make a socket: \(String(cString: strerror(errno)))") }
    guard let result = Self.withAddress(path, { bind(descriptor, $0, $1) }) else {
      throw Failure("the path \(path) is too long for a socket; move the vault to a shorter one")
    }
    guard result == 0, chmod(path, 0o600) == 0, listen(descriptor, 16) == 0 else {
      throw Failure("cannot listen on \(path): \(String(cString: strerror(errno)))")
    }
    let listener = descriptor
    var thread = pthread_t()
    let work = Unmanaged.passRetained(Work(listener, vault, requests))
    pthread_create(&thread, nil, { raw in
      Unmanaged<Work>.fromOpaque(raw!).takeRetainedValue().serve()
      return nil
    }, work.toOpaque())
    pthread_detach(thread)
  }

  func close() {
    unlink(path)
    shutdown(descriptor, Int32(SHUT_RDWR))
    Glibc.close(descriptor)
  }

  /// Asks the owner of the vault at `vault`; nil if nobody answers.
  static func ask(_ vault: String, _ request: String) -> String? {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return nil }
    defer { Glibc.close(descriptor) }
    setTimeout(descriptor)
    guard withAddress("\(vault)/\(name)", { connect(descriptor, $0, $1) }) == 0 else { return nil }
    let bytes = Array("\(request)\n".utf8)
    guard write(descriptor, bytes, bytes.count) == bytes.count else { return nil }
    var answer: [UInt8] = [], buffer = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = read(descriptor, &buffer, buffer.count)
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
          if errno == EINTR || errno == ECONNABORTED { continue }
          return
        }
        answer(client)
        Glibc.close(client)
      }
    }

    private func answer(_ client: Int32) {
      var peer = PeerCredentials(), length = socklen_t(MemoryLayout<PeerCredentials>.size)
      guard getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0, peer.user == 0 || peer.user == geteuid() else { return }
      ControlSocket.setTimeout(client)
      var request = [UInt8](repeating: 0, count: 256)
      let count = read(client, &request, request.count)
      guard count > 0 else { return }
      let reply = switch String(decoding: request[0..<count], as: UTF8.self) {
      case "status\n": StatusReport(vault.status(), requests: requests()).json
      default: #"{"error":"unknown request"}"#
      }
      let bytes = Array(reply.utf8)
      _ = send(client, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }
  }

  private static func setTimeout(_ descriptor: Int32) {
    var limit = timeval(tv_sec: 5, tv_usec: 0)
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] { setsockopt(descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size)) }
  }

  /// - Returns: nil where the path does not fit into an address (107 bytes).
  private static func withAddress<R>(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R? {
    var address = sockaddr_un()
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return nil }
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
  }
}
