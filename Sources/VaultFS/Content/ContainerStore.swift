// The files that hold frames, for reading: packs and journal segments, opened when needed, a bounded number at once.
// Thread-safe. A container that is removed while someone reads it stays readable through the open file; so does one
// that was closed here to open another, for whoever holds its file.

import Synchronization

final class ContainerStore: Sendable {
  enum Kind: CaseIterable {
    case pack
    case segment
    /// A segment that will not change any more, compressed, without frames.
    case archive

    var directory: String { self == .pack ? "packs" : "journal" }
    var suffix: String {
      switch self {
      case .pack: ".pack"
      case .segment: ".log"
      case .archive: ".ops"
      }
    }
  }
  private struct State {
    var kinds: [ContainerNumber: Kind] = [:]
    var open: [ContainerNumber: (file: any DiskFile, used: UInt64)] = [:]
    var clock: UInt64 = 0
    var sizes = ContainerSizes()

    /// Keeps `file` open as the one used last; the ones unused for longest give way.
    mutating func keepOpen(_ number: ContainerNumber, _ file: any DiskFile) {
      clock += 1
      open[number] = (file, clock)
      while open.count > Limits.containersOpenMax, let oldest = open.min(by: { $0.value.used < $1.value.used }) { open[oldest.key] = nil }
    }
  }
  /// Numbers are below this: more than any vault will ever use up. A file whose name says more is none of ours.
  static let numbersEnd: UInt64 = 1 << 56
  let disk: any Disk
  private let state = Mutex(State())
  private let nextNumber = Atomic<UInt64>(1)

  /// Learns which containers there are.
  init(disk: any Disk) throws(VaultError) {
    self.disk = disk
    for kind in Kind.allCases {
      for name in try disk.list(kind.directory) {
        guard let number = Self.number(of: name, kind) else {
          // What was cut off the journal keeps its number: nothing else may have it.
          if let number = Self.cutNumber(of: name, kind) { raiseNext(to: number.value + 1) }
          continue
        }
        // Where a segment and its archive both exist, the archiving was not finished: the segment counts.
        state.withLock { state in
          if state.kinds[number] != nil { return }
          state.kinds[number] = kind
          state.sizes.expect(number)
        }
        raiseNext(to: number.value + 1)
      }
    }
  }

  /// A number that no container has or had.
  func takeNumber() -> ContainerNumber { ContainerNumber(nextNumber.wrappingAdd(1, ordering: .relaxed).oldValue) }
  /// The number that would be taken next.
  var next: UInt64 { nextNumber.load(ordering: .relaxed) }
  /// Numbers below `value` are used up, by containers that are gone.
  func raiseNext(to value: UInt64) {
    // More than that is damage, and must not use up all there are.
    if value < Self.numbersEnd { _ = nextNumber.max(value, ordering: .relaxed) }
  }

  static func path(_ number: ContainerNumber, _ kind: Kind) -> String {
    let digits = String(number.value, radix: 16)
    return "\(kind.directory)/\(String(repeating: "0", count: 12 - min(12, digits.count)))\(digits)\(kind.suffix)"
  }
  private static func number(of name: String, _ kind: Kind) -> ContainerNumber? {
    guard name.hasSuffix(kind.suffix), let value = UInt64(name.dropLast(kind.suffix.count), radix: 16), value < numbersEnd else { return nil }
    let number = ContainerNumber(value)
    return path(number, kind) == "\(kind.directory)/\(name)" ? number : nil
  }

  /// The name under which what was cut off a journal's file is kept: one that nothing has.
  func freeCutName(_ path: String, at offset: UInt64) -> String {
    var name = "\(path).\(offset).cut", number = 1
    while disk.exists(name) {
      number += 1
      name = "\(path).\(offset)-\(number).cut"
    }
    return name
  }
  private static func cutNumber(of name: String, _ kind: Kind) -> ContainerNumber? {
    guard name.hasSuffix(".cut"), let dot = name.firstIndex(of: ".") else { return nil }
    return number(of: name[..<dot] + kind.suffix, kind)
  }

  func kind(_ number: ContainerNumber) -> Kind? { state.withLock { $0.kinds[number] } }

  /// All segments of the journal, archived or not, in order.
  var journal: [ContainerNumber] { (numbers(.segment) + numbers(.archive)).sorted() }

  /// The archive of a segment is complete: the segment goes.
  func becomeArchive(_ number: ContainerNumber) throws(VaultError) {
    state.withLock { state in
      state.kinds[number] = .archive
      state.open[number] = nil
      state.sizes.forget(number, .segment)
      state.sizes.expect(number)
    }
    try disk.remove(Self.path(number, .segment))
  }

  /// What a power cut left behind the journal's end: out of the way, but not lost.
  /// - Returns: where it is now.
  func setAside(_ number: ContainerNumber) throws(VaultError) -> String? {
    let kind = state.withLock { state in
      state.open[number] = nil
      state.sizes.forget(number, state.kinds[number])
      return state.kinds.removeValue(forKey: number)
    }
    guard let kind else { return nil }
    let place = freeCutName(Self.path(number, kind), at: 0)
    try disk.rename(Self.path(number, kind), to: place)
    return place
  }

  /// All containers of a kind, in the order they were made.
  func numbers(_ kind: Kind) -> [ContainerNumber] {
    state.withLock { $0.kinds.filter { $0.value == kind }.keys.sorted() }
  }

  /// The container will not change any more.
  func end(_ number: ContainerNumber) { state.withLock { $0.sizes.end(number) } }

  /// What all packs, and all of the journal, take on disk in the vault at `path`; bytes. Looks at those files only whose
  /// size it does not know for good.
  func storedBytes(in path: String) -> (packs: UInt64, journal: UInt64) {
    let open = state.withLock { state in state.sizes.expected.compactMap { number in state.kinds[number].map { (number, $0, state.sizes.isGrowing(number)) } } }
    let found = open.map { (number: $0, kind: $1, isGrowing: $2, bytes: allocatedBytes("\(path)/\(Self.path($0, $1))")) }
    return state.withLock { state in
      var sums = (packs: state.sizes.packs, journal: state.sizes.journal)
      for file in found where state.kinds[file.number] == file.kind && state.sizes.expected.contains(file.number) {
        if file.kind == .pack { sums.packs += file.bytes } else { sums.journal += file.bytes }
        if !file.isGrowing { state.sizes.settle(file.number, file.kind, file.bytes) }
      }
      return sums
    }
  }

  /// Files that the next question for `storedBytes` looks at; for tests.
  var expectedCount: Int { state.withLock { $0.sizes.expected.count } }

  /// Files kept open; for tests.
  var openCount: Int { state.withLock { $0.open.count } }

  /// A container that was just made, and its open file. It grows until `end`.
  func add(_ number: ContainerNumber, _ kind: Kind, _ file: any DiskFile) {
    state.withLock { state in
      state.kinds[number] = kind
      state.sizes.expect(number, growing: true)
      state.keepOpen(number, file)
    }
  }

  func remove(_ number: ContainerNumber) throws(VaultError) {
    // Whoever does not find the file finds, too, that it is gone.
    let kind = state.withLock { state in
      state.open[number] = nil
      return state.kinds.removeValue(forKey: number)
    }
    guard let kind else { return }
    do throws(VaultError) { try disk.remove(Self.path(number, kind)) } catch {
      state.withLock { $0.kinds[number] = kind }
      throw error
    }
    state.withLock { state in
      state.open[number] = nil
      state.sizes.forget(number, kind)
    }
  }

  /// Those of `numbers` that there are.
  func files(_ numbers: [ContainerNumber]) throws(VaultError) -> [any DiskFile] {
    var files: [any DiskFile] = []
    for number in numbers where kind(number) != nil { files.append(try file(number)) }
    return files
  }

  func file(_ number: ContainerNumber) throws(VaultError) -> any DiskFile {
    let (found, kind): ((any DiskFile)?, Kind?) = state.withLock { state in
      state.clock += 1
      state.open[number]?.used = state.clock
      return (state.open[number]?.file, state.kinds[number])
    }
    if let found { return found }
    guard let kind else {
      if number == .none { throw .chunkDamaged(detail: "this content is not stored any more, or was noted as damaged (where its file of the vault is put back from a copy, `fsctl scrub` finds it again)") }
      throw .chunkDamaged(detail: "\(Self.path(number, .pack)) is missing (or \(Self.path(number, .segment)))")
    }
    let file = try disk.open(Self.path(number, kind), .read)
    state.withLock { $0.keepOpen(number, file) }
    return file
  }
}
