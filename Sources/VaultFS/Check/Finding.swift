// What a check can find: one kind for each invariant, with a name that stays (commands print it, tests and scripts compare it).
//
// What must stay true: a finding names its object so that a person finds it and a repair needs nothing else.

public struct Finding: Codable, Hashable, Sendable {
  public enum Kind: String, Codable, Hashable, Sendable, CaseIterable {
    // Namespace
    case nodeRecord = "node-record"
    case nodeNumber = "node-number"
    case nodeEpoch = "node-epoch"
    case nodeUnreachable = "node-unreachable"
    case rootMissing = "root-missing"
    case entryDangling = "entry-dangling"
    case entryType = "entry-type"
    case entryParent = "entry-parent"
    case entryName = "entry-name"
    case entryCookie = "entry-cookie"
    case entryTwice = "entry-twice"
    case directoryNames = "directory-names"
    case directoryParent = "directory-parent"
    case directoryCycle = "directory-cycle"
    // References
    case links
    case directoryLinks = "directory-links"
    case directoryEntries = "directory-entries"
    case orphan
    case xattrOwner = "xattr-owner"
    case xattrFlag = "xattr-flag"
    // Manifests
    case manifestPage = "manifest-page"
    case manifestOrder = "manifest-order"
    case manifestEnd = "manifest-end"
    case manifestAllocated = "manifest-allocated"
    case manifestChunk = "manifest-chunk"
    case manifestPart = "manifest-part"
    case pageOwner = "page-owner"
    // Chunks
    case chunkNumber = "chunk-number"
    case chunkPlace = "chunk-place"
    case chunkFrame = "chunk-frame"
    case chunkNamed = "chunk-named"
    case frameBase = "frame-base"
    // Counters
    case counterNodes = "counter-nodes"
    case counterLogical = "counter-logical-bytes"
    case counterChunks = "counter-chunks"
    case counterUnique = "counter-unique-bytes"
    // Usage and limits
    case linkHome = "link-home"
    case usageTree = "usage-tree"
    case usageOwner = "usage-owner"
    case quotaTree = "quota-tree"
    // Containers
    case containerChunks = "container-chunks"
    case containerFrames = "container-frames"
    case containerMissing = "container-missing"
    case containerShort = "container-short"
    case containerNumber = "container-number"
    case baseKept = "base-kept"
    case baseNoted = "base-noted"
    case packWhole = "pack-whole"
    case packSuperfluous = "pack-superfluous"
    // History
    case pastInterval = "past-interval"
    case pastOverlap = "past-overlap"
    case pastRecord = "past-record"
    case pastOwner = "past-owner"
    case pastChunk = "past-chunk"
    case pastHeld = "past-held"
    case pastTrash = "past-trash"
    case pastMoment = "past-moment"
    // Journal
    case journalSegment = "journal-segment"
    case journalSequence = "journal-sequence"
    case journalStamp = "journal-stamp"
    case journalOperation = "journal-operation"
    case journalPosition = "journal-position"
    case journalEpoch = "journal-epoch"
    // Database
    case databasePage = "database-page"
    case databaseStructure = "database-structure"
    case viewStale = "view-stale"
    // What is found in the bytes themselves (a scrub)
    case configuration
    case chunkContent = "chunk-content"
    case frameDamaged = "frame-damaged"
    case frameSuperfluous = "frame-superfluous"
  }

  public var kind: Kind
  /// A node it concerns, and its path where it has one.
  public var inode: UInt64?
  public var path: String?
  /// The SHA-256 of a chunk it concerns, in hexadecimal.
  public var chunk: String?
  /// A file of the vault, relative to it, and the byte in it.
  public var file: String?
  public var byte: UInt64?
  /// A row of the database.
  public var row: Row?
  /// What is wrong, as a sentence without its end.
  public var detail: String

  public struct Row: Codable, Hashable, Sendable {
    public var table: String
    /// The columns of its key, as far as they are numbers.
    public var key: [UInt64]
  }

  init(_ kind: Kind, inode: UInt64? = nil, chunk: ChunkID? = nil, file: String? = nil, byte: UInt64? = nil,
       table: String? = nil, key: [UInt64] = [], _ detail: String) {
    (self.kind, self.inode, self.file, self.byte, self.detail) = (kind, inode, file, byte, detail)
    self.chunk = chunk?.description
    row = table.map { Row(table: $0, key: key) }
  }

  /// What repair would do about it.
  public var repair: String { kind.remedy.rawValue }
  /// It harms nothing: something goes away by itself, or is damaged that nothing is read from. (A power cut leaves such
  /// packs. A chunk that is needed has a finding of its own.)
  public var isNote: Bool { [.packSuperfluous, .packWhole, .frameSuperfluous].contains(kind) }
  /// Whether a repair does anything about it.
  public var isRepairable: Bool { ![.none, .unneeded, .itself].contains(kind.remedy) }
}

extension Finding {
  /// How each kind is repaired (Check/Repair).
  enum Remedy: String {
    /// The view is wrong: where the journal can be read, it says what is right. Needs the vault for itself.
    case rebuild = "the database is made anew from the journal"
    /// As `rebuild`; where the journal itself says so, by operations of the journal.
    case tree = "the database is made anew from the journal; if that says the same, operations of the journal put it right, and nothing is lost: see lost+found"
    /// Of the view alone.
    case count = "it is counted again"
    case mark = "the chunk is noted as damaged, so that the same content written again heals it"
    case markAll = "the chunks that were there are noted as damaged, so that the same content written again heals them"
    case keep = "the container is left alone from now on"
    case none = "nothing: put the file back from a copy of the vault"
    case unneeded = "nothing: what of it is needed can be read, or is told by itself"
    case itself = "nothing: the optimiser takes it away"
  }
}

extension Finding.Kind {
  var remedy: Finding.Remedy {
    switch self {
    case .nodeUnreachable, .entryDangling, .entryType, .entryParent, .entryName, .entryCookie, .entryTwice, .directoryNames, .directoryParent, .directoryCycle,
      .links, .directoryLinks, .directoryEntries, .orphan, .xattrFlag, .manifestEnd, .manifestAllocated, .linkHome: .tree
    case .nodeRecord, .nodeNumber, .nodeEpoch, .rootMissing, .xattrOwner, .manifestPage, .manifestOrder, .manifestChunk, .manifestPart, .pageOwner, .chunkNumber,
      .pastInterval, .pastOverlap, .pastRecord, .pastOwner, .pastChunk, .pastHeld, .pastTrash, .pastMoment, .journalPosition, .journalEpoch, .quotaTree,
      .databasePage, .databaseStructure, .viewStale: .rebuild
    case .counterNodes, .counterLogical, .counterChunks, .counterUnique, .usageTree, .usageOwner, .containerChunks, .containerFrames, .containerNumber: .count
    case .containerMissing, .containerShort: .markAll
    case .chunkPlace, .chunkFrame, .chunkNamed, .frameBase, .chunkContent: .mark
    case .baseKept, .baseNoted, .frameDamaged: .keep
    case .packWhole, .frameSuperfluous: .unneeded
    case .packSuperfluous: .itself
    case .journalSegment, .journalSequence, .journalStamp, .journalOperation, .configuration: .none
    }
  }
}

extension ChunkID: CustomStringConvertible {
  /// As `sha256sum` prints it.
  public var description: String { hex(words.0) + hex(words.1) + hex(words.2) + hex(words.3) }

  init?(_ text: String) {
    let digits = Array(text.utf8)
    guard digits.count == 64 else { return nil }
    var words: [UInt64] = []
    for start in stride(from: 0, to: 64, by: 16) {
      guard let word = UInt64(String(decoding: digits[start..<start + 16], as: UTF8.self), radix: 16) else { return nil }
      words.append(word)
    }
    self.init(words[0], words[1], words[2], words[3])
  }
}
