// What an owner says against a path, with the path as it was typed: an owner knows paths from its vault's root only.

import FuseBridge
import VaultClient

extension VaultPath {
  /// Where a path that lies in a vault's mount is in the vault.
  init(_ path: Path, in mount: MountEntry) throws {
    guard let place = VaultPath(mount.root.bytes + [UInt8(ascii: "/")] + path.bytes.dropFirst(mount.point.bytes.count)) else {
      throw Failure("\(path) is longer than a vault can hold, or has a longer name", code: 2)
    }
    self = place
  }
}

/// Asks another service.
struct NamingService: VaultService {
  let service: any VaultService
  let place: VaultPath
  let given: Path
  let mount: MountEntry

  func ask<Request: VaultRequest>(_ request: Request, _ receiver: Receiver<Request.Item>) throws -> Request.Answer {
    do { return try service.ask(request, receiver) } catch let error as ServiceError { throw error.naming(place, given, mount) }
  }
}

extension ServiceError {
  /// The same, where it begins with `place` or a directory above it: that as people reach it.
  func naming(_ place: VaultPath, _ given: Path, _ mount: MountEntry?) -> ServiceError {
    var place = place, name: Path? = given
    while true {
      let words = "\(place)"
      if let name, message.hasPrefix(words), [":", " "].contains(message.dropFirst(words.count).first) {
        return ServiceError(code, "\(name)\(message.dropFirst(words.count))")
      }
      if place == .root { return self }
      place = place.parent
      name = mount.flatMap { $0.path(of: place) }
    }
  }
}

extension MountEntry {
  /// Where `place` of the vault is seen through this mount; nil where it is not.
  func path(of place: VaultPath) -> Path? {
    let above = root.components.map(Array.init)
    guard place.names.starts(with: above) else { return nil }
    return place.names.dropFirst(above.count).reduce(point) { $0.appending($1) }
  }
}
