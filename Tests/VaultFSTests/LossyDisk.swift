// A disk on which a power cut does what it may: every write that no sync has covered is there, torn or gone, each for
// itself, and every name that no sync of its directory has covered is there or gone.
//
// What must stay true: it loses only what the `Disk` protocol allows it to lose. SQLite's own files are not behind this
// door; its log may be there or not after a cut.

import Foundation
import Synchronization
@testable import VaultFS

final class LossyDisk: Disk {
  /// What a power cut may take from a file.
  struct Unsynced {
    var writes: [Range<UInt64>] = []
    var isNameNew = false
  }
  private let real: RealDisk
  private let unsynced = Mutex<[String: Unsynced]>([:])

  /// - Parameter state: what the owner before left unsynced: a kill leaves it to the kernel, and to the next cut.
  init(path: String, state: [String: Unsynced] = [:]) throws(VaultError) {
    real = try RealDisk(path: path)
    unsynced.withLock { $0 = state }
  }

  /// Takes from `copy`, a copy of the vault's directory, what the cut took.
  /// - Parameter state: of the moment of the copy.
  static func cut(_ copy: String, _ state: [String: Unsynced], _ random: inout Random) throws {
    for (path, file) in state.sorted(by: { $0.key < $1.key }) {
      let place = "\(copy)/\(path)"
      guard FileManager.default.fileExists(atPath: place) else { continue }
      if file.isNameNew, random.below(2) == 0 {
        try FileManager.default.removeItem(atPath: place)
        continue
      }
      var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: place)))
      var end = file.writes.map(\.lowerBound).min().map(Int.init) ?? bytes.count
      for write in file.writes {
        let range = Int(write.lowerBound)..<min(Int(write.upperBound), bytes.count)
        guard !range.isEmpty else { continue }
        let kept = [0, range.count, range.count, random.below(range.count)][random.below(4)]
        for index in range.dropFirst(kept) { bytes[index] = 0 }
        // Lost at the end, the file may be as long as it was, or shorter.
        if kept > 0 || random.below(2) == 0 { end = max(end, range.lowerBound + (random.below(2) == 0 ? range.count : kept)) }
      }
      try Data(bytes.prefix(end)).write(to: URL(fileURLWithPath: place))
    }
    if random.below(2) == 0 { try? FileManager.default.removeItem(atPath: copy + "/metadata.db-wal") }
    try "another boot".write(toFile: copy + "/boot", atomically: false, encoding: .utf8)
  }

  var state: [String: Unsynced] { unsynced.withLock { $0 } }

  func open(_ path: String, _ mode: OpenMode) throws(VaultError) -> any DiskFile {
    let file = try real.open(path, mode)
    if mode == .create { unsynced.withLock { $0[path, default: Unsynced()].isNameNew = true } }
    return LossyFile(file, of: self)
  }
  func exists(_ path: String) -> Bool { real.exists(path) }
  func list(_ directory: String) throws(VaultError) -> [String] { try real.list(directory) }
  func makeDirectory(_ path: String) throws(VaultError) { try real.makeDirectory(path) }
  func rename(_ path: String, to newPath: String) throws(VaultError) {
    try real.rename(path, to: newPath)
    unsynced.withLock { all in
      all[newPath] = all.removeValue(forKey: path) ?? Unsynced()
      all[newPath]!.isNameNew = true
    }
  }
  func remove(_ path: String) throws(VaultError) {
    try real.remove(path)
    unsynced.withLock { $0[path] = nil }
  }
  func syncDirectory(_ path: String) throws(VaultError) {
    try real.syncDirectory(path)
    let names = (path == "." ? "" : path + "/")
    unsynced.withLock { all in
      for key in all.keys where key.hasPrefix(names) && !key.dropFirst(names.count).contains("/") { all[key]!.isNameNew = false }
    }
  }
  func space() throws(VaultError) -> (total: UInt64, free: UInt64, available: UInt64) { try real.space() }

  fileprivate func wrote(_ range: Range<UInt64>, _ path: String) { unsynced.withLock { $0[path, default: Unsynced()].writes.append(range) } }
  fileprivate func synced(_ path: String, _ count: Int) { unsynced.withLock { $0[path]?.writes.removeFirst(count) } }
  fileprivate func pending(_ path: String) -> Int { unsynced.withLock { $0[path]?.writes.count ?? 0 } }
}

private final class LossyFile: DiskFile {
  private let real: any DiskFile
  private let disk: LossyDisk
  var path: String { real.path }
  init(_ real: any DiskFile, of disk: LossyDisk) { (self.real, self.disk) = (real, disk) }

  func size() throws(VaultError) -> UInt64 { try real.size() }
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(VaultError) -> Int { try real.read(into: buffer, at: offset) }
  func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(VaultError) {
    try real.write(bytes, at: offset)
    disk.wrote(offset..<offset + UInt64(bytes.count), path)
  }
  func truncate(to size: UInt64) throws(VaultError) { try real.truncate(to: size) }
  func allocate(_ bytes: UInt64) throws(VaultError) { try real.allocate(bytes) }
  func keepRoom(_ range: Range<UInt64>) throws(VaultError) { try real.keepRoom(range) }
  func sync() throws(VaultError) {
    // Only what was written before the sync began is covered by it.
    let covered = disk.pending(path)
    try real.sync()
    disk.synced(path, covered)
  }
}
