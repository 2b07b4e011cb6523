// Which containers may go: how many chunks are read from each, and which the optimiser leaves as they are; and what they cost.
//
// What must stay true:
// 1. A container's count is the number of rows of `chunk` that name it; both change in the same transaction.
// 2. What the frames in a container take ends with it: a container that is forgotten costs nothing.
// 3. A container is kept from before a frame in another one that names it as base is in the view.
// Part of the view's state: in memory as a whole (a container is tens of megabytes), written with every commit.

struct ContainerUses {
  private struct Use {
    var chunks: Int64 = 0
    /// Bytes of the frames in it.
    var frames: UInt64 = 0
    /// The optimiser wrote it, or frames need it as base, or a look at it promised nothing.
    var isKept = false
    /// Plain bytes in it that nothing refers to any more, as far as was noticed.
    var dead: UInt64 = 0
    /// Other containers that hold bases of its frames.
    var bases: Set<ContainerNumber> = []
    /// Something in it could not be read: what else is in it is read before new content refers to that.
    var isDoubted = false
  }
  /// More than a container can hold; shares of it can be reckoned.
  private static let bytesMax: Int64 = 1 << 50
  private var uses: [ContainerNumber: Use] = [:]
  private var changed: Set<ContainerNumber> = []

  init() {}

  init(_ database: Database) throws(VaultError) {
    let select = try database.prepare("SELECT number, chunks, kept, dead, bases, frames, doubted FROM container")
    while try select.step() {
      guard select.integer(1) >= 0, [3, 5].allSatisfy({ (0..<Self.bytesMax) ~= select.integer($0) }) else { throw .databaseDamaged(detail: "\(database.path): the row of container \(select.integer(0))") }
      var reader = unsafe ByteReader(select.raw(4)), bases: Set<ContainerNumber> = []
      while !reader.isAtEnd, let base = try? reader.varint() { bases.insert(ContainerNumber(base)) }
      uses[ContainerNumber(select.unsigned(0))] = Use(chunks: select.integer(1), frames: select.unsigned(5), isKept: select.integer(2) != 0, dead: select.unsigned(3), bases: bases,
                                                        isDoubted: select.integer(6) != 0)
      frames &+= select.unsigned(5)
    }
  }

  /// Bytes of all frames.
  private(set) var frames: UInt64 = 0
  func frames(in number: ContainerNumber) -> UInt64 { uses[number]?.frames ?? 0 }
  /// Whether the frames in it are counted: of a container that was gone they were forgotten, and of one that came unnoticed they never were.
  func isCounted(_ number: ContainerNumber) -> Bool { frames(in: number) > 0 }
  /// Frames of so many bytes were written to `number`, or are not there any more for those who ask what is stored.
  mutating func addFrames(_ bytes: Int, to number: ContainerNumber) {
    setFrames(UInt64(clamping: Int64(clamping: frames(in: number)) + Int64(bytes)), in: number)
  }
  /// What was behind the end of a file that was cut short is not there.
  mutating func limitFrames(in number: ContainerNumber, to size: UInt64) { if frames(in: number) > size { setFrames(size, in: number) } }
  mutating func setFrames(_ bytes: UInt64, in number: ContainerNumber) {
    let old = frames(in: number)
    if bytes == old { return }
    uses[number, default: Use()].frames = bytes
    frames = frames &- old &+ bytes
    changed.insert(number)
  }

  /// Whether something is read from `number`, or may be: then it must stay.
  func isNeeded(_ number: ContainerNumber) -> Bool { uses[number].map { $0.chunks != 0 || $0.isKept } ?? false }
  /// Whether chunks are read from it, or from frames that need a base in it.
  func isRead(_ number: ContainerNumber) -> Bool { chunks(in: number) != 0 || dependents(of: number).contains { chunks(in: $0) != 0 } }
  func isKept(_ number: ContainerNumber) -> Bool { uses[number]?.isKept ?? false }
  /// Chunks that are read from `number`.
  func chunks(in number: ContainerNumber) -> Int64 { uses[number]?.chunks ?? 0 }

  /// More chunks are read from `number`, or fewer.
  mutating func add(_ chunks: Int64, to number: ContainerNumber) {
    uses[number, default: Use()].chunks &+= chunks
    changed.insert(number)
  }
  mutating func keep(_ number: ContainerNumber) {
    if isKept(number) { return }
    uses[number, default: Use()].isKept = true
    changed.insert(number)
  }
  mutating func release(_ number: ContainerNumber) {
    guard isKept(number) else { return }
    uses[number, default: Use()].isKept = false
    changed.insert(number)
  }
  func isDoubted(_ number: ContainerNumber) -> Bool { uses[number]?.isDoubted ?? false }
  /// Whether something is so of a container, and of each that frames in it need a base in.
  func isSo(ofAllNeededBy number: ContainerNumber, _ isSo: (ContainerNumber) -> Bool) -> Bool { isSo(number) && uses[number]?.bases.allSatisfy(isSo) ?? true }
  mutating func doubt(_ number: ContainerNumber, _ isDoubted: Bool = true) {
    if self.isDoubted(number) == isDoubted { return }
    uses[number, default: Use()].isDoubted = isDoubted
    changed.insert(number)
  }
  /// Plain bytes of all that nothing refers to any more, as far as was noticed.
  var dead: UInt64 { uses.values.reduce(0) { $0 &+ $1.dead } }
  func dead(in number: ContainerNumber) -> UInt64 { uses[number]?.dead ?? 0 }
  /// Those in which something is dead.
  var withDead: [ContainerNumber] { uses.filter { $0.value.dead > 0 }.keys.sorted() }
  mutating func addDead(_ bytes: UInt64, to number: ContainerNumber) {
    uses[number, default: Use()].dead &+= bytes
    changed.insert(number)
  }
  /// Those with frames that need a base in `number`.
  func dependents(of number: ContainerNumber) -> [ContainerNumber] { uses.filter { $0.value.bases.contains(number) }.keys.sorted() }
  /// Whether it is known that frames in `number` need a base in `base`, another one.
  func isBase(_ base: ContainerNumber, of number: ContainerNumber) -> Bool { uses[number]?.bases.contains(base) ?? false }
  mutating func addBase(_ base: ContainerNumber, of number: ContainerNumber) {
    guard base != number, uses[number, default: Use()].bases.insert(base).inserted else { return }
    changed.insert(number)
  }
  mutating func removeBase(_ base: ContainerNumber, of number: ContainerNumber) {
    if uses[number]?.bases.remove(base) != nil { changed.insert(number) }
  }
  /// Forgets those that nothing is read from and that have no frames any more: whoever removed them, or made archives of them, was
  /// killed before it was noted.
  mutating func forgetGone(_ hasFrames: (ContainerNumber) -> Bool) {
    for (number, use) in uses where use.chunks == 0 && number != .none && !hasFrames(number) { forget(number) }
  }
  /// Those that something is read from.
  var withFrames: [ContainerNumber] { uses.filter { $0.value.frames > 0 && $0.key != .none }.keys.sorted() }
  var inUse: [ContainerNumber] { uses.filter { $0.value.chunks > 0 && $0.key != .none }.keys.sorted() }
  /// It is gone.
  mutating func forget(_ number: ContainerNumber) {
    frames &-= frames(in: number)
    uses[number] = nil
    changed.insert(number)
  }

  mutating func write(_ statements: Statements) throws(VaultError) {
    for number in changed {
      if let use = uses[number] {
        statements.writeContainer.bind(1, number.value)
        statements.writeContainer.bind(2, UInt64(bitPattern: use.chunks))
        statements.writeContainer.bind(3, use.isKept ? 1 : 0)
        statements.writeContainer.bind(4, use.dead)
        var bases = ByteWriter(capacity: 8 * use.bases.count)
        for base in use.bases.sorted() { bases.varint(base.value) }
        statements.writeContainer.bind(5, copying: bases.bytes)
        statements.writeContainer.bind(6, use.frames)
        statements.writeContainer.bind(7, use.isDoubted ? 1 : 0)
        try statements.writeContainer.run()
      } else {
        statements.deleteContainer.bind(1, number.value)
        try statements.deleteContainer.run()
      }
    }
    changed.removeAll()
  }
}
