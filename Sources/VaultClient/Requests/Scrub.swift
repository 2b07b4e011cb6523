// Verifying every stored byte. For administrators: it reads the whole vault, and names files.

public import VaultFS

public struct ScrubRequest: ClosedVaultRequest {
  public static let name = "scrub"
  public static let access = Access.administrators
  /// nil: as fast as can be.
  public var bytesPerSecond: UInt64?
  public var threads: Int
  /// Gives way to everything else on the computer.
  public var isGentle: Bool
  public var startsAnew: Bool
  /// false: only the checksums of what is stored are looked at.
  public var decodes: Bool
  public init(bytesPerSecond: UInt64? = nil, threads: Int = 2, isGentle: Bool = true, startsAnew: Bool = false, decodes: Bool = true) {
    (self.bytesPerSecond, self.threads, self.isGentle, self.startsAnew, self.decodes) = (bytesPerSecond, threads, isGentle, startsAnew, decodes)
  }
  public static let threadsMax = 32
  /// Bytes a second; with less it would not end.
  public static let rateMin: UInt64 = 4096

  public enum Item: Codable, Sendable {
    case found(Finding)
    /// A file of the tree that holds something damaged.
    case file(DamagedFile)
  }

  public struct Answer: Codable, Sendable {
    /// Stored bytes that were read; frames and chunks that were verified; by an interrupted scrub that this one went on from, too.
    public var bytes: UInt64
    public var frames: UInt64
    public var chunks: UInt64
    /// Chunks that were noted as damaged by this scrub.
    public var marked: Int
    public var healed: Int
    public var seconds: Double
    public var isResumed: Bool
    public var isComplete: Bool
    public var isClean: Bool
  }

  public func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Item>) throws -> Answer {
    let vault = host.vault
    return try host.works.run("scrub", answer) { try perform(answer) { options in try vault.scrub(options) } }
  }

  public func perform(onClosed path: String, log: @escaping @Sendable (String) -> Void, _ answer: Receiver<Item>) throws -> Answer {
    try perform(answer) { options in try Vault.scrub(at: path, options, log: log) }
  }

  private func perform(_ answer: Receiver<Item>, _ scrub: @escaping @Sendable (ScrubOptions) throws -> ScrubReport) throws -> Answer {
    let options = try options
    let report = try LongWork.run(options.cancellation, answer) { tell in
      var options = options
      options.progress = { tell(Progress($0)) }
      return try scrub(options)
    }
    for finding in report.findings { try answer.item(.found(finding)) }
    for file in report.files { try answer.item(.file(file)) }
    return Answer(bytes: report.bytes, frames: report.frames, chunks: report.chunks, marked: report.marked, healed: report.healed, seconds: report.seconds,
                  isResumed: report.isResumed, isComplete: report.isComplete, isClean: report.isClean)
  }

  private var options: ScrubOptions {
    get throws {
      guard (1...Self.threadsMax).contains(threads) else { throw ServiceError(.invalidArgument, "a scrub has from 1 to \(Self.threadsMax) threads") }
      guard bytesPerSecond ?? Self.rateMin >= Self.rateMin else { throw ServiceError(.invalidArgument, "at less than \(Self.rateMin) bytes a second a scrub does not end") }
      var options = ScrubOptions()
      (options.bytesPerSecond, options.threads, options.isGentle, options.startsAnew, options.decodes) = (bytesPerSecond, threads, isGentle, startsAnew, decodes)
      return options
    }
  }
}

extension Progress {
  init(_ progress: ScrubProgress) {
    self.init(Self.with(progress.findings, Self.reading), done: progress.bytesDone, total: progress.bytesTotal)
    secondsLeft = progress.secondsLeft
    isBytes = true
  }
  private static let reading = "reading"
}
