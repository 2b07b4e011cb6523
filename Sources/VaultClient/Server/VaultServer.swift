// The owner's sockets: where other programs ask the process that owns a vault.
//
//   VAULT/socket              for whoever may enter the vault's folder: root and its owner
//   /run/vaultfs/MAJOR:MINOR  for everyone, where root lets others into the mount; named by the device number that
//                             stat(2) shows of what is in it
//
// What must stay true:
// 1. Who asks is known by the kernel's word alone, from the moment they connected.
// 2. A client costs one thread and one descriptor, and there is a bound to both; however it behaves, others and the
//    mount go on. Nothing of the vault is locked while bytes are on their way.
// 3. After `close` no thread of the server uses the vault, unless it is in a call of the engine that takes its time.

import Glibc
import Printable
import Synchronization

public final class VaultServer: Sendable {
  public static let socketName = "socket"

  private let host: ServiceHost
  private let clients = Clients()
  private let doors = Mutex<[Door]>([])

  public init(_ host: ServiceHost) { self.host = host }

  /// Opens the socket in the vault's folder.
  public func listen(inVault path: String) throws(ServiceError) {
    let directory = UnixAddress(directory: Array(path.utf8), name: Self.socketName).openDirectory()
    guard directory >= 0 else { throw ServiceError(.disk, "cannot open \(path): \(systemWords(errno))") }
    try open(directory, Self.socketName, mode: 0o600, place: "\(path)/\(Self.socketName)", reach: nil)
  }

  /// Opens the socket for everyone, of what is mounted.
  /// - Parameter device: `major:minor` of the mount.
  /// - Parameter mountPoint: absolute, without symlinks, bytes.
  public func listenForEveryone(device: String, mountPoint: [UInt8]) throws(ServiceError) {
    // Beneath the mount we would wait for ourselves.
    let place = Array("\(PublicDirectory.path)/".utf8), point = mountPoint.last == UInt8(ascii: "/") ? mountPoint : mountPoint + [UInt8(ascii: "/")]
    guard !place.starts(with: point) else {
      throw ServiceError(.notSupported, "a mount on \(printable(mountPoint)) hides \(PublicDirectory.path), so ordinary users cannot use `fsctl` with it; mount elsewhere for that")
    }
    let directory = try PublicDirectory.open()
    PublicDirectory.sweep(directory)
    try open(directory, device, mode: 0o666, place: "\(PublicDirectory.path)/\(device)", reach: Reach(mountPoint: mountPoint))
  }

  private func open(_ directory: Int32, _ name: String, mode: UInt32, place: String, reach: Reach?) throws(ServiceError) {
    let host = host, clients = clients
    let door = try Door(in: directory, name, mode: mode, place: place) { descriptor in Self.welcome(descriptor, host, clients, reach) }
    doors.withLock { $0.append(door) }
  }

  /// In the door's thread, so nothing here waits.
  private static func welcome(_ descriptor: Int32, _ host: ServiceHost, _ clients: Clients, _ reach: Reach?) {
    let channel = Channel(descriptor)
    // In the vault's folder only administrators are heard.
    guard let peer = Peer(of: descriptor), reach != nil || peer.isAdministrator else { return }
    guard let number = clients.admit(peer, channel) else { return turnAway(channel, "as many programs as may ask at once ask the owner already; try again") }
    let isStarted = startThread("vault-client") {
      let refusal = reach?.isOpen(to: peer) == false ? ServiceError(.notPermitted, "you may not reach the mount: a directory above it keeps you out") : nil
      Conversation(host: host, peer: peer, channel: channel, refusal: refusal).run()
      clients.leave(number, peer)
    }
    guard let isStarted else {
      clients.leave(number, peer)
      return turnAway(channel, "the owner has no thread left to answer with; try again")
    }
    pthread_detach(isStarted)
  }

  /// A frame as short as this always fits what the kernel keeps for a socket.
  private static func turnAway(_ channel: Channel, _ words: String) {
    try? channel.send(.error, Array(#"{"code":"busy","message":"\#(words)"}"#.utf8))
  }

  /// How many are connected.
  public var clientCount: Int { clients.count }

  /// Hangs up on everybody and removes the sockets. Calling it again does nothing.
  public func close() {
    let all = doors.withLock { doors in
      defer { doors = [] }
      return doors
    }
    for door in all { door.shut() }
    clients.end()
    let deadline = ContinuousClock.now + WireLimits.farewell
    while clients.count > 0, ContinuousClock.now < deadline { usleep(2000) }
  }
}
