// What a file of the model holds, byte by byte, and what that counts.
//
// Content is never zero where it is written: so a zero is a hole, and what a file is charged for is the count of the
// others. (Zeros are written, too: in whole blocks, of which the vault makes holes.)

struct ModelContent: Equatable {
  /// A byte of content, or one of these two. What stands beyond `size` is reserved.
  static let hole: UInt8 = 0, reserved: UInt8 = 1
  private var cells: [UInt8] = []
  private(set) var size = 0
  private(set) var allocated = 0

  /// What a program reads.
  var bytes: [UInt8] { cells[..<size].map { $0 == Self.reserved ? 0 : $0 } }

  func allocated(in range: Range<Int>) -> Int { cells[range.clamped(to: cells.indices)].reduce(0) { $0 + ($1 == Self.hole ? 0 : 1) } }

  // MARK: Changing

  mutating func write(_ bytes: [UInt8], at offset: Int) {
    replace(offset..<offset + bytes.count) { $0.replaceSubrange(offset..<offset + bytes.count, with: bytes) }
    size = max(size, offset + bytes.count)
  }

  mutating func truncate(to newSize: Int) {
    if newSize <= size { replace(newSize..<max(newSize, cells.count)) { $0.removeSubrange(newSize...) } }
    grow(to: newSize)
    size = newSize
  }

  mutating func punch(_ range: Range<Int>) { fill(range.clamped(to: 0..<max(cells.count, range.lowerBound)), with: Self.hole) }

  /// Space for later writes: in place of holes, or of everything.
  mutating func reserve(_ range: Range<Int>, zeroing: Bool, keepsSize: Bool) {
    replace(range) { cells in for index in range where zeroing || cells[index] == Self.hole { cells[index] = Self.reserved } }
    if !keepsSize { size = max(size, range.upperBound) }
  }

  mutating func insert(_ range: Range<Int>) {
    cells.insert(contentsOf: repeatElement(Self.hole, count: range.count), at: range.lowerBound)
    size += range.count
  }

  mutating func collapse(_ range: Range<Int>) {
    allocated -= allocated(in: range)
    cells.removeSubrange(range)
    size -= range.count
  }

  mutating func clone(_ range: Range<Int>, of source: ModelContent, to offset: Int) { write(Array(source.cells[range]), at: offset) }

  /// Zeros are holes where whole blocks of them are written.
  static func zeros(_ count: Int) -> [UInt8] { [UInt8](repeating: hole, count: count) }

  private mutating func fill(_ range: Range<Int>, with cell: UInt8) {
    replace(range) { cells in for index in range { cells[index] = cell } }
  }

  private mutating func replace(_ range: Range<Int>, _ body: (inout [UInt8]) -> Void) {
    grow(to: range.upperBound)
    let before = cells.count
    allocated -= allocated(in: range)
    body(&cells)
    allocated += cells.count == before ? allocated(in: range) : 0
  }

  private mutating func grow(to count: Int) {
    if cells.count < count { cells += Self.zeros(count - cells.count) }
  }
}

/// The few blocks that all content is made of: what was given up comes back all the time.
enum BlockPool {
  static let blocks: [[UInt8]] = {
    var random = Random(seed: 0x706F_6F6C)
    let words = (0..<300).map { _ in random.bytes(6).map { 97 + $0 % 26 } + [32] }
    func text(_ count: Int) -> [UInt8] { Array((0...count / 7).flatMap { _ in words[random.below(words.count)] }.prefix(count)) }
    // Text that resembles other text: the optimiser compresses one against the other.
    let common = text(300_000)
    func block(_ count: Int) -> [UInt8] {
      if random.chance(50) { return random.bytes(count).map { 2 + $0 % 254 } }
      var block = Array(common[..<count])
      for _ in 0..<1 + count / 3000 { block[random.below(count)] = 65 }
      return block
    }
    let small = (0..<10).map { _ in block(1 + random.below(4000)) }, medium = (0..<10).map { _ in block(8000 + random.below(60_000)) }
    // More than travels in the journal: these go to packs.
    return small + medium + (0..<6).map { _ in block(140_000 + random.below(150_000)) }
  }()

  static func content(_ random: inout Random) -> [UInt8] {
    let block = switch random.below(100) {
    case 0..<40: blocks[random.below(10)]
    case 40..<82: blocks[10 + random.below(10)]
    default: blocks[20 + random.below(blocks.count - 20)]
    }
    return random.chance(25) ? Array(block.prefix(1 + block.count / 3)) : block
  }
}
