// Every bound of the engine, by name. Memory stays under their sum whatever the size of a file or a vault.

public enum Limits {
  /// A name in a directory, bytes (NAME_MAX).
  public static let nameBytesMax = 255
  /// A symlink's target, bytes (PATH_MAX without its NUL).
  public static let targetBytesMax = 4095
  /// An extended attribute's name and value, bytes (XATTR_NAME_MAX, XATTR_SIZE_MAX).
  public static let xattrNameBytesMax = 255
  public static let xattrValueBytesMax = 65536
  /// All names of a node's attributes together, bytes (XATTR_LIST_MAX).
  public static let xattrListBytesMax = 65536
  /// All names and values of a node's attributes together, bytes.
  public static let xattrBytesMax = 1 << 20
  /// Hard links to one node (as ext4 is bounded at 65,000; ours is the width of the field).
  public static let linksMax: UInt32 = 0xFFFF_FFF0
  /// A file's size, bytes: what a signed 64-bit offset can address.
  public static let fileBytesMax = UInt64(Int64.max)

  /// Chunk sizes of the chunker, bytes. See docs/decisions/0002-chunks-and-frames.md.
  static let chunkBytesMin = 16 << 10
  static let chunkBytesAverage = 64 << 10
  static let chunkBytesMax = 256 << 10
  /// A frame's plain bytes: the optimiser's frames hold many chunks.
  static let frameBytesMax = 1 << 20
  /// Chunks in one frame.
  static let frameChunksMax = 4096
  /// A journal record's body, bytes; larger content goes to packs.
  static let recordBytesMax = 4 << 20
  /// Content drained in one go that is at most this long travels in the journal itself: one barrier makes it durable.
  static let inlineBytesMax = 128 << 10
  /// Where less than this of a file changed, bytes, the kernel is told at once to let go of it: two milliseconds.
  static let staleBytesMin: UInt64 = 16 << 20
  /// Extents shorter than this are crumbs; this many in a row are written again as one.
  static let crumbBytes = 16 << 10
  static let crumbsMax = 8
  /// A journal segment is sealed beyond this, bytes.
  static let segmentBytes: UInt64 = 16 << 20
  /// More than any segment has, archived or not; a longer one is damage, and not read.
  static let segmentBytesMax: UInt64 = 256 << 20
  /// A pack is sealed beyond this, bytes: what survives in it can move to a new one within what is kept back of a full volume
  /// (`reserveBytes`), and a commit of the view beside it.
  static let packBytes: UInt64 = 32 << 20
  /// More than any pack has: what stands behind is not searched for frames.
  static let packBytesMax: UInt64 = 1 << 30
  /// Open containers kept for reading.
  static let containersOpenMax = 128

  /// A manifest page holds at most this many extents.
  static let pageExtentsMax = 256
  /// A manifest of at most this many extents lives in the node's row.
  static let inlineExtentsMax = 8

  /// Unsaved bytes of one file (as `Draft` counts them) before they are handed to the ingest workers.
  static let draftBytes = 2 << 20
  /// Unsaved bytes of all files before a writer must wait.
  static let dirtyBytesMax = 24 << 20
  /// Decoded frames kept for reading, bytes.
  static let frameCacheBytes = 12 << 20
  /// Nodes kept in memory beyond those in use.
  static let nodeCacheCount = 32_768
  /// SQLite's page cache, KiB.
  static let databaseCacheKiB = 16 << 10

  /// The view is committed after this many operations, or this long after the first of them.
  static let commitOperations = 2000
  static let commitDelay: Duration = .milliseconds(200)
  /// And where so much of the database waits in memory beyond what it keeps there anyway: it is to fit into what is kept back of a full disk.
  static let commitBytes: UInt64 = 4 << 20
  /// A file still being written is saved this long after its first unsaved byte.
  static let draftDelay: Duration = .milliseconds(900)
  /// Free space of the volume that is left alone: deleting, replaying and checkpointing need some to work with, bytes.
  static let reserveBytes: UInt64 = 48 << 20
  /// Between two looks whether there is room again for a reserve that was given up, while nothing else goes on.
  static let reserveDelay: Duration = .seconds(5)
  /// Unsynced work is synced after this long, or this many bytes.
  static let syncDelay: Duration = .seconds(4)
  static let syncBytes: UInt64 = 48 << 20
  /// Between two looks for what nothing refers to any more, while there is work.
  static let collectionDelay: Duration = .seconds(30)
  /// Between two applications of the history policy, while there is work: seconds, by how soon it lets go. The first comes so
  /// long after opening, or with a change of the policy.
  static let expiryDelays: ClosedRange<Int64> = 30...3600
  static let firstExpiryDelay: Duration = .seconds(30)
  /// The database's log is checkpointed beyond this many pages (4 KiB each).
  static let checkpointPages = 4096
  /// The same where the disk is full.
  static let checkpointPagesShort = 512
}
