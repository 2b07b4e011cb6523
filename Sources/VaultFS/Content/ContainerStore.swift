// The files that hold frames, for reading: packs and journal segments, opened when needed, a bounded number at once.
// Thread-safe. A container that is removed while someone reads it stays readable through the open file.

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
    /// Packs the optimiser has written, or found not worth its work.
    var optimised: Set<ContainerNumber> = []
    var open: [ContainerNumber: (file: any DiskFile, used: UInt64)] = [:]
    var clock: UInt64 = 0
  }
  let disk: any Disk
  private let state = Mutex(State())
  private let nextNumber = Atomic<UInt64>(1)

  /// Learns which containers there are.
  init(disk: any Disk) throws(VaultError) {
    self.disk = disk
    for kind in Kind.allCases {
      for name in try disk.list(kind.directory) {
        guard let number = Self.number(of: name, kind) else { continue }
        // Where a segment and its archive both exist, the archiving was not finished: the segment counts.
        state.withLock { if $0.kinds[number] == nil { $0.kinds[number] = kind } }
        raiseNext(to: number.value + 1)
      }
    }
  }

  /// A number that no container has or had.
  func takeNumber() -> ContainerNumber { ContainerNumber(nextNumber.wrappingAdd(1, ordering: .relaxed).oldValue) }
  /// The number that would be taken next.
  var next: UInt64 { nextNumber.load(ordering: .relaxed) }
  /// Numbers below `value` are used up, by containers that are gone.
  func raiseNext(to value: UInt64) { _ = nextNumber.max(value, ordering: .relaxed) }

  static func path(_ number: ContainerNumber, _ kind: Kind) -> String {
    let digits = String(number.value, radix: 16)
    return "\(kind.directory)/\(String(repeating: "0", count: 12 - min(12, digits.count)))\(digits)\(kind.suffix)"
  }
  private static func number(of name: String, _ kind: Kind) -> ContainerNumber? {
    guard name.hasSuffix(kind.suffix) else { return nil }
    return UInt64(name.dropLast(kind.suffix.count), radix: 16).map(ContainerNumber.init)
  }

  func kind(_ number: ContainerNumber) -> Kind? { state.withLock { $0.kinds[number] } }

  /// All segments of the journal, archived or not, in order.
  var journal: [ContainerNumber] { (numbers(.segment) + numbers(.archive)).sorted() }

  func isOptimised(_ number: ContainerNumber) -> Bool { state.withLock { $0.optimised.contains(number) } }
  func setOptimised(_ number: ContainerNumber) { state.withLock { _ = $0.optimised.insert(number) } }

  /// The archive of a segment is complete: the segment goes.
  func becomeArchive(_ number: ContainerNumber) throws(VaultError) {
    state.withLock { state in
      state.kinds[number] = .archive
      state.open[number] = nil
    }
    try disk.remove(Self.path(number, .segment))
  }

  /// What a power cut left behind the journal's end: out of the way, but not lost.
  func setAside(_ number: ContainerNumber) throws(VaultError) {
    let kind = state.withLock { state in
      state.open[number] = nil
      return state.kinds.removeValue(forKey: number)
    }
    if let kind { try disk.rename(Self.path(number, kind), to: Self.path(number, kind) + ".cut") }
  }

  /// All containers of a kind, in the order they were made.
  func numbers(_ kind: Kind) -> [ContainerNumber] {
    state.withLock { $0.kinds.filter { $0.value == kind }.keys.sorted() }
  }

  /// A container that was just made, and its open file.
  func add(_ number: ContainerNumber, _ kind: Kind, _ file: any DiskFile) {
    state.withLock { state in
      state.kinds[number] = kind
      state.clock += 1
      state.open[number] = (file, state.clock)
    }
  }

  func remove(_ number: ContainerNumber) throws(VaultError) {
    let kind = state.withLock { state in
      state.open[number] = nil
      return state.kinds.removeValue(forKey: number)
    }
    if let kind { try disk.remove(Self.path(number, kind)) }
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
    guard let kind else { throw .chunkDamaged(detail: "container \(number.value) is missing") }
    let file = try disk.open(Self.path(number, kind), .read)
    state.withLock { state in
      state.clock += 1
      state.open[number] = (file, state.clock)
      if state.open.count > Limits.containersOpenMax, let oldest = state.open.min(by: { $0.value.used < $1.value.used }) {
        state.open[oldest.key] = nil
      }
    }
    return file
  }
}
