// The one door between the engine and storage. A real disk and a simulated one (lost, torn and reordered writes,
// ENOSPC, EIO) pass the same tests; the engine cannot tell them apart.
//
// Paths are relative to the vault's directory. What `sync` has not covered may be lost, torn or reordered by a power
// cut; a name is durable only after `syncDirectory`. All methods may be called from several threads.

public enum OpenMode: Sendable {
  case read
  /// Reads and writes a file that exists.
  case update
  /// Makes a new file, readable by the owner only; fails if there is one.
  case create
}

public protocol Disk: Sendable {
  func open(_ path: String, _ mode: OpenMode) throws(VaultError) -> any DiskFile
  func exists(_ path: String) -> Bool
  /// When a file, or what is known of it, changed last: nanoseconds by the volume's clock; nil where that cannot be told.
  func changed(_ path: String) -> UInt64?
  /// Names in a directory, in no order, without `.` and `..`.
  func list(_ directory: String) throws(VaultError) -> [String]
  func makeDirectory(_ path: String) throws(VaultError)
  func rename(_ path: String, to newPath: String) throws(VaultError)
  func remove(_ path: String) throws(VaultError)
  func syncDirectory(_ path: String) throws(VaultError)
  /// Bytes of the volume: in all, free, and free for an ordinary user.
  func space() throws(VaultError) -> (total: UInt64, free: UInt64, available: UInt64)
}

public protocol DiskFile: AnyObject, Sendable {
  var path: String { get }
  func size() throws(VaultError) -> UInt64
  /// - Returns: bytes read; fewer than asked only at the end of the file.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(VaultError) -> Int
  /// Writes everything or throws; what part of a failed write is in the file is unknown.
  func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(VaultError)
  func truncate(to size: UInt64) throws(VaultError)
  /// Makes the file so long, with room for all of it.
  func allocate(_ bytes: UInt64) throws(VaultError)
  /// Room for what will be written there; the file stays as long as it is.
  func keepRoom(_ range: Range<UInt64>) throws(VaultError)
  /// Makes data and size durable (fdatasync). After it failed once, nothing is known about this file's unsynced bytes.
  func sync() throws(VaultError)
  /// Nobody will read these bytes soon: what the computer's memory holds of them may go.
  func uncache(_ range: Range<UInt64>)
  /// Whether no name leads to it any more: what is written to it is lost when it is closed.
  var isUnlinked: Bool { get }
}

extension Disk {
  public func changed(_ path: String) -> UInt64? { nil }
}

extension DiskFile {
  public var isUnlinked: Bool { false }
  public func uncache(_ range: Range<UInt64>) {}
}
