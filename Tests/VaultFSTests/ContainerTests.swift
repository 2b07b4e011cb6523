// Containers: which files are some, how many are open, what their frames may say, what a failing disk does to them.

import Foundation
import Glibc
import Synchronization
import Testing
@testable import VaultFS

/// A disk whose syncs or removals fail, or take their time, as soon as it is told so.
private final class FailingDisk: Disk {
  let inner: RealDisk
  let failing = Mutex<String?>(nil)
  /// Called with the path of each file before it is synced.
  let whenSyncing = Mutex<(@Sendable (String) -> Void)?>(nil)
  /// Called before a file is removed; returns whether it may be.
  let whenRemoving = Mutex<(@Sendable () -> Bool)?>(nil)
  init(_ path: String) throws { inner = try RealDisk(path: path) }
  func fail(_ path: String) throws(VaultError) {
    whenSyncing.withLock { $0 }?(path)
    let isFailing = failing.withLock { failing in failing.map { path.hasSuffix($0) } ?? false }
    if isFailing { throw .disk(operation: "sync", path: path, code: EIO) }
  }

  final class File: DiskFile {
    let file: any DiskFile, disk: FailingDisk
    init(_ file: any DiskFile, _ disk: FailingDisk) { (self.file, self.disk) = (file, disk) }
    var path: String { file.path }
    func size() throws(VaultError) -> UInt64 { try file.size() }
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(VaultError) -> Int { try file.read(into: buffer, at: offset) }
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(VaultError) { try file.write(bytes, at: offset) }
    func truncate(to size: UInt64) throws(VaultError) { try file.truncate(to: size) }
    func allocate(_ bytes: UInt64) throws(VaultError) { try file.allocate(bytes) }
    func keepRoom(_ range: Range<UInt64>) throws(VaultError) { try file.keepRoom(range) }
    func sync() throws(VaultError) {
      try disk.fail(path)
      try file.sync()
    }
  }
  func open(_ path: String, _ mode: OpenMode) throws(VaultError) -> any DiskFile { File(try inner.open(path, mode), self) }
  func exists(_ path: String) -> Bool { inner.exists(path) }
  func list(_ directory: String) throws(VaultError) -> [String] { try inner.list(directory) }
  func makeDirectory(_ path: String) throws(VaultError) { try inner.makeDirectory(path) }
  func rename(_ path: String, to newPath: String) throws(VaultError) { try inner.rename(path, to: newPath) }
  func remove(_ path: String) throws(VaultError) {
    if let mayRemove = whenRemoving.withLock({ $0 }), !mayRemove() { throw .disk(operation: "remove", path: path, code: EIO) }
    try inner.remove(path)
  }
  func syncDirectory(_ path: String) throws(VaultError) {
    try fail(path)
    try inner.syncDirectory(path)
  }
  func space() throws(VaultError) -> (total: UInt64, free: UInt64, available: UInt64) { try inner.space() }
}

struct ContainerTests {
  private func store<R>(_ makeDisk: (String) throws -> any Disk = { try RealDisk(path: $0) }, _ body: (ContainerStore, String) throws -> R) throws -> R {
    let directory = try temporaryDirectory()
    defer { try? FileManager.default.removeItem(atPath: directory) }
    for kind in ["packs", "journal"] { try FileManager.default.createDirectory(atPath: "\(directory)/\(kind)", withIntermediateDirectories: true) }
    return try body(try ContainerStore(disk: try makeDisk(directory)), directory)
  }

  @Test func `a container whose file goes is gone for whoever looks, and is there still where the file stays`() throws {
    try store({ try FailingDisk($0) }) { store, _ in
      let disk = try #require(store.disk as? FailingDisk), number = store.takeNumber(), wasThere = Mutex<[Bool]>([])
      store.add(number, .pack, try disk.open(ContainerStore.path(number, .pack), .create))
      func goes(_ mayRemove: Bool) {
        disk.whenRemoving.withLock {
          $0 = {
            wasThere.withLock { $0.append(store.kind(number) != nil) }
            return mayRemove
          }
        }
      }
      goes(false)
      #expect(throws: VaultError.self) { try store.remove(number) }
      #expect(store.kind(number) == .pack && store.numbers(.pack) == [number] && (try? store.file(number)) != nil && store.expectedCount == 1)
      goes(true)
      try store.remove(number)
      #expect(store.kind(number) == nil && store.numbers(.pack).isEmpty && (try? store.file(number)) == nil && store.expectedCount == 0)
      #expect(wasThere.withLock { $0 } == [false, false])
    }
  }

  @Test func `however many containers are made and read, few are open`() throws {
    try store { store, _ in
      var made: [ContainerNumber] = [], most = 0
      for _ in 0..<3 * Limits.containersOpenMax {
        let number = store.takeNumber()
        store.add(number, .pack, try store.disk.open(ContainerStore.path(number, .pack), .create))
        made.append(number)
        most = max(most, store.openCount)
      }
      for number in made + made.reversed() {
        #expect(try store.file(number).path == ContainerStore.path(number, .pack))
        most = max(most, store.openCount)
      }
      #expect(most == Limits.containersOpenMax)
    }
  }

  @Test func `files whose names no vault gives are no containers`() throws {
    try store { _, directory in
      for name in ["ffffffffffffffff.pack", "7fffffffffffffff.pack", "+00000000005.pack", "5.pack", "00000000000A.pack", "00000000000g.pack", ".pack", "000000000007.pack"] {
        _ = FileManager.default.createFile(atPath: "\(directory)/packs/\(name)", contents: nil)
      }
      let store = try ContainerStore(disk: try RealDisk(path: directory))
      #expect(store.numbers(.pack) == [ContainerNumber(7)])
      #expect(store.next == 8)
    }
  }

  /// A frame header that says `body`, with a checksum that is right.
  private func header(_ codec: UInt8, plain: UInt32, stored: UInt32, base: (UInt64, UInt64, UInt32), chunks: [UInt32]) -> [UInt8] {
    var w = ByteWriter()
    w.u32(FrameHeader.magic); w.u8(codec); w.u8(0); w.u16(UInt16(chunks.count)); w.u32(plain); w.u32(stored); w.u32(0)
    w.u64(base.0); w.u64(base.1); w.u32(base.2)
    for length in chunks { w.id(ChunkID(1, 2, 3, 4)); w.u32(length); w.u32(0) }
    w.u32(w.bytes.withUnsafeBytes { Checksum.crc32($0) })
    return w.bytes
  }
  private func isRefused(_ bytes: [UInt8], at location: SourceLocation = #_sourceLocation) {
    #expect(throws: Malformed.self, sourceLocation: location) { try bytes.withUnsafeBytes { raw throws in _ = try FrameHeader(decoding: raw) } }
  }

  @Test func `a valid checksum does not make a frame's values believed`() throws {
    #expect(throws: Never.self) { try header(3, plain: 100, stored: 50, base: (7, 36, 500), chunks: [100]).withUnsafeBytes { raw throws in _ = try FrameHeader(decoding: raw) } }
    isRefused(header(3, plain: 100, stored: 50, base: (7, 36, 0), chunks: [100]))
    isRefused(header(3, plain: 100, stored: 50, base: (7, 36, .max), chunks: [100]))
    isRefused(header(3, plain: 100, stored: 50, base: (7, .max, 500), chunks: [100]))
    isRefused(header(3, plain: 100, stored: 50, base: (7, 1 << 63, 500), chunks: [100]))
    isRefused(header(2, plain: 100, stored: 50, base: (7, 36, 500), chunks: [100]))
    isRefused(header(2, plain: 100, stored: 50, base: (7, 36, 0), chunks: [100]))
    isRefused(header(0, plain: 100, stored: 100, base: (0, 0, 0), chunks: [0, 100]))
    isRefused(header(0, plain: .max, stored: .max, base: (0, 0, 0), chunks: [.max]))
    for place in [FramePlace(container: ContainerNumber(1), offset: .max, length: 500), FramePlace(container: ContainerNumber(1), offset: 0, length: .max),
                  FramePlace(container: ContainerNumber(1), offset: 0, length: 0)] {
      #expect(throws: VaultError.self) {
        _ = try DecodedFrame(reading: MemoryFile([]), at: place, decoder: Decoder()) { _ throws(VaultError) in throw .notFound }
      }
    }
  }

  @Test func `an extent never says more of a chunk than a frame can hold`() {
    for (length, within) in [(UInt64(1) << 40, UInt64(0)), (4096, UInt64(UInt32.max)), (UInt64(FrameHeader.contentBytesMax), 1)] {
      var w = ByteWriter()
      w.varint(1); w.varint(0); w.varint(length); w.u64(77); w.varint(within)
      #expect(throws: Malformed.self) {
        try w.bytes.withUnsafeBytes { raw throws in
          var r = ByteReader(raw)
          _ = try [Extent](decoding: &r, max: 10)
        }
      }
    }
  }

  @Test func `frames that name each other as base are refused`() throws {
    try Home.run { home in
      home.vault.keeper?.stop()
      let payload = [UInt8](repeating: 7, count: 100), length = UInt32(FrameHeader.headerLength(chunks: 1) + payload.count)
      let pack = PackWriter(containers: home.vault.containers, vault: home.vault.configuration.id)
      let number = ContainerNumber(home.vault.containers.next)
      let places = (0..<2).map { FramePlace(container: number, offset: UInt64(PackHeader.length) + UInt64($0) * UInt64(length), length: length) }
      for index in 0..<2 {
        try payload.withUnsafeBytes { raw throws in
          let header = FrameHeader(codec: .zstdDelta, plain: 500, stored: raw, base: places[1 - index], chunks: [FrameChunk(id: ChunkID(1, 2, 3, 4), length: 500, crc: 0)])
          #expect(try pack.append(header, raw).offset == places[index].offset)
        }
      }
      for place in places {
        #expect { _ = try home.vault.frame(at: place, in: try home.vault.containers.file(number)) } throws: { if case VaultError.chunkDamaged = $0 { true } else { false } }
      }
      home.vault.keeper = Keeper(home.vault)
      home.vault.keeper?.start()
    }
  }

  @Test func `small frames count for more in the cache than their bytes`() throws {
    let (bytes, _) = FrameTests.frame(of: [[UInt8]("small")])
    let cache = FrameCache(bytesMax: 1 << 20)
    let places = (0..<10_000).map { FramePlace(container: ContainerNumber(1), offset: UInt64($0), length: UInt32(bytes.count)) }
    for place in places {
      let at = FramePlace(container: place.container, offset: 0, length: place.length)
      cache.insert(try DecodedFrame(reading: MemoryFile(bytes), at: at, decoder: Decoder()) { _ throws(VaultError) in throw .notFound }, place)
    }
    let kept = places.count { cache.frame($0) != nil }
    #expect((1000...2048).contains(kept), "\(kept) frames")
  }

  @Test func `a pack is whole if its frames are what its footer sums up`() throws {
    try store { store, _ in
      let pack = PackWriter(containers: store, vault: NodeID(high: 1, low: 2))
      for index in 0..<3 {
        let (bytes, header) = FrameTests.frame(of: [[UInt8]("content \(index)")])
        try bytes[header.headerLength...].withUnsafeBytes { raw throws in _ = try pack.append(header, raw) }
      }
      let number = try #require(pack.begun), file = try store.file(number), vault = NodeID(high: 1, low: 2)
      #expect(try PackScanner.whole(file, vault: vault, number: number)?.count == 3, "its owner was killed between two frames")
      try pack.seal()
      #expect(try PackFooter(of: file)?.frames == 3)
      #expect(try PackScanner.whole(file, vault: vault, number: number)?.count == 3)
      #expect(try PackScanner.whole(file, vault: NodeID(high: 1, low: 3), number: number) == nil, "of another vault")
      #expect(try PackScanner.whole(file, vault: vault, number: ContainerNumber(number.value + 1)) == nil, "of another number")
    }
  }

  @Test(arguments: ["journal/archive.new", "journal"])
  func `a failed sync of an archive makes the vault read-only`(what: String) throws {
    try onFailingDisk { vault, disk in
      let segment = try #require(vault.containers.numbers(.segment).first)
      disk.failing.withLock { $0 = what }
      #expect(throws: VaultError.self) { try Optimiser(vault) { true }.run() }
      #expect(vault.lock.withLock { vault.failure } != nil)
      #expect(vault.containers.kind(segment) == .segment && disk.exists(ContainerStore.path(segment, .segment)))
      disk.failing.withLock { $0 = nil }
      #expect(throws: VaultError.self, "it is not tried again and believed") { try Optimiser(vault) { true }.run() }
      #expect(disk.exists(ContainerStore.path(segment, .segment)))
    }
  }

  @Test func `while the optimiser waits for the disk the keeper goes on saving`() throws {
    try onFailingDisk { vault, disk in
      final class Hold: Sendable {
        let isWaiting = Atomic<Bool>(false), mayGoOn = Atomic<Bool>(false)
      }
      let hold = Hold()
      try vault.makeFile("text", [UInt8]((0..<20_000).map { "line \($0) of many\n" }.joined()))
      try vault.syncAll()
      let known = Set(try disk.list("packs").map { "packs/\($0)" })
      #expect(known.count == 1)
      disk.whenSyncing.withLock { hook in
        hook = { path in
          guard path.hasSuffix(".pack"), !known.contains(path) else { return }
          hold.isWaiting.store(true, ordering: .relaxed)
          while !hold.mayGoOn.load(ordering: .relaxed) { usleep(10_000) }
        }
      }
      vault.keeper = Keeper(vault)
      vault.keeper?.start()
      defer { hold.mayGoOn.store(true, ordering: .relaxed) }
      func wait(_ condition: () -> Bool) -> Bool {
        for _ in 0..<1000 where !condition() { usleep(10_000) }
        return condition()
      }
      #expect(wait { hold.isWaiting.load(ordering: .relaxed) }, "the optimiser did not begin")
      let file = try vault.open(try vault.make("draft").inode)
      try vault.write([UInt8]("draft"), to: file)
      #expect(wait { vault.lock.withLock { vault.unsaved.isEmpty } }, "the draft was not saved")
      hold.mayGoOn.store(true, ordering: .relaxed)
      vault.close(file)
    }
  }

  /// A vault on a disk that can be made to fail. No keeper looks after it.
  private func onFailingDisk(_ body: (Vault, FailingDisk) throws -> Void) throws {
    let directory = try temporaryDirectory(), path = directory + "/vault"
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let configuration = try Vault.create(at: path, name: "test")
    let disk = try FailingDisk(path), containers = try ContainerStore(disk: disk)
    let metadata = try Metadata(database: try Database(path: path + "/metadata.db"), nameKey: configuration.nameKey)
    containers.raiseNext(to: metadata.state.nextContainer)
    let journal = try Journal(containers: containers, vault: configuration.id, number: containers.takeNumber(), 
                              after: JournalReader.End(lastLSN: metadata.state.applied, durable: metadata.state.applied, stamp: 0))
    let vault = Vault(configuration: configuration, path: path, metadata: metadata, journal: journal, containers: containers,
                      packs: PackWriter(containers: containers, vault: configuration.id),
                      owner: try OwnerLock(vault: path, purpose: "tested"), isReadOnly: false, log: { _ in })
    defer { try? vault.shutDown() }
    try body(vault, disk)
  }
}
