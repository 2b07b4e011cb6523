// A vault that is open in this process and asked over its sockets, for the length of a test.
//
// What must stay true: whatever a test does, no socket, thread or directory stays behind.

import Foundation
import Glibc
import Testing
@testable import VaultClient
@testable import VaultFS

let root = Requester(user: 0, group: 0, umask: 0)

final class ServedVault: Sendable {
  let path: String
  let vault: Vault
  let server: VaultServer
  /// Of the socket for everyone: no mount has such a name.
  let device = "test-\(UInt32.random(in: 0 ... .max))"

  static func run<R>(_ body: (ServedVault) throws -> R) throws -> R {
    var template = Array("\(ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp")/vaultfs-served-XXXXXX".utf8CString)
    try #require(mkdtemp(&template) != nil)
    let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    chmod(directory, 0o755)
    let served = try ServedVault("\(directory)/vault")
    defer {
      served.server.close()
      try? served.vault.shutDown()
    }
    return try body(served)
  }

  /// A program that another test starts just now may hold what this process has open, for a moment.
  private static func open(_ path: String) throws -> Vault {
    for _ in 0..<300 {
      do { return try Vault.open(at: path, purpose: "tested", log: { _ in }) } catch VaultError.owned { usleep(10_000) }
    }
    return try Vault.open(at: path, purpose: "tested", log: { _ in })
  }

  private init(_ path: String) throws {
    self.path = path
    try Vault.create(at: path, name: "served")
    vault = try Self.open(path)
    vault.accessTimes = .never
    let activity = MountActivity(requests: ["lookup": 3], latencies: ["lookup": LatencyHistogram(buckets: [0, 1, 2], nanoseconds: 5)], bytesRead: 7, bytesWritten: 8)
    server = VaultServer(ServiceHost(vault) { activity })
    try server.listen(inVault: path)
    try server.listenForEveryone(device: device, mountPoint: Array(path.utf8.dropLast("vault".utf8.count)) + Array("m".utf8))
  }

  /// As root.
  var service: RemoteService { RemoteService(vault: Array(path.utf8)) }
  /// As whoever the thread is.
  var everyones: RemoteService { RemoteService(device: device) }

  @discardableResult
  func make(_ name: String, in parent: InodeNumber = .root, mode: UInt32 = S_IFREG | 0o644, user: UInt32 = 0, group: UInt32 = 0, target: String = "", _ content: [UInt8] = []) throws -> InodeNumber {
    let inode = try vault.create(Array(name.utf8), in: parent, mode: mode, target: Array(target.utf8), by: Requester(user: user, group: group, umask: 0)).inode
    if !content.isEmpty {
      let file = try vault.open(inode)
      defer { vault.close(file) }
      try content.withUnsafeBytes { try vault.write($0, to: file, at: 0, clearsPrivileges: false, isMember: { _ in true }) }
    }
    return inode
  }

  /// A socket that is connected and speaks no protocol yet.
  func rawSocket() throws -> Int32 { try UnixAddress(directory: Array(path.utf8), name: VaultServer.socketName).connect() }

  func read(_ service: some VaultService, _ path: String, offset: UInt64 = 0, length: UInt64? = nil) throws -> [UInt8] {
    var bytes: [UInt8] = []
    let count = try service.read(.path(VaultPath(path.utf8)!), offset: offset, length: length) { span in span.withUnsafeBytes { bytes += $0 } }
    #expect(count == bytes.count)
    return bytes
  }
}

/// What `body` throws, as a code.
func code(_ body: () throws -> Void) -> ServiceError.Code? {
  do {
    try body()
    return nil
  } catch let error as ServiceError { return error.code } catch {
    Issue.record(error)
    return nil
  }
}
