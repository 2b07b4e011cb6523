// What a scrub is asked for, and what it tells.

public struct ScrubProgress: Codable, Sendable {
  /// Stored bytes: read so far, and of all that is to be read.
  public var bytesDone: UInt64
  public var bytesTotal: UInt64
  /// By the speed so far; nil at the beginning.
  public var secondsLeft: Double?
  public var findings: Int
}

public struct ScrubOptions: Sendable {
  /// Stored bytes that are read a second, at most; nil: as fast as can be.
  public var bytesPerSecond: UInt64?
  /// Threads that read and verify.
  public var threads = 2
  /// Gives way to everything else on the computer.
  public var isGentle = true
  /// false: nothing is decoded, and only the checksums of what is stored are looked at. It begins at the beginning, and leaves no position:
  /// the last scrub is the last one that proved what all content is.
  public var decodes = true
  /// From the beginning, though an earlier one was not finished.
  public var startsAnew = false
  public var cancellation = Cancellation()
  public var progress: @Sendable (ScrubProgress) -> Void = { _ in }
  public init() {}
}

/// A file that holds something damaged.
public struct DamagedFile: Codable, Hashable, Sendable {
  public var inode: UInt64
  /// One of its paths, or, where it is gone, the one that it had; nil where none was found.
  public var path: String?
  public var pathBytes: [UInt8]?
  /// Where only what it was is damaged: when the last such version ended, seconds since 1970.
  public var until: Int64?
}

public struct ScrubReport: Codable, Sendable {
  /// The first of them, `Limits.findingsMax` at most.
  public internal(set) var findings: [Finding] = []
  /// Stored bytes that were read; frames and chunks that were verified. Those of before a restart are counted.
  public internal(set) var bytes: UInt64 = 0
  public internal(set) var frames: UInt64 = 0
  public internal(set) var chunks: UInt64 = 0
  /// Chunks that were noted as damaged by this scrub.
  public internal(set) var marked = 0
  /// Chunks that were noted as damaged before and are whole again: a file of the vault was put back from a copy.
  public internal(set) var healed = 0
  /// Files with chunks that are damaged, whoever noted that, those of the tree first; `Scrub.filesMax` at most.
  public internal(set) var files: [DamagedFile] = []
  public internal(set) var seconds = 0.0
  /// It went on where an earlier one was ended.
  public internal(set) var isResumed = false
  /// False where it was cancelled.
  public internal(set) var isComplete = false

  public var isClean: Bool { isComplete && findings.allSatisfy(\.isNote) && files.isEmpty }
}
