// What history has, as it is shown: rows for people, lines for programs, objects of JSON.

import ArgumentParser
import CommandSupport
import FoundationEssentials
import Glibc
import Printable
import VaultClient
import VaultFS

/// Rows: on a terminal below a header and aligned, elsewhere one a line as they come, with tabs between.
struct Listing {
  private var table: Table?

  init(_ header: [String], left: Set<Int>) { table = isatty(1) == 1 ? Table(header, left: left) : nil }

  mutating func add(_ row: [String]) throws {
    guard table == nil else {
      table?.add(row)
      return
    }
    // What is empty at the end is no column.
    try say(row.reversed().drop { $0.isEmpty }.reversed().joined(separator: "\t"))
  }
  func end() throws { if let table { try say(table.text) } }
}

/// How sizes are shown.
struct SizeOption: ParsableArguments {
  @Flag(help: "Sizes in bytes.") var bytes = false
  func text(_ size: some BinaryInteger) -> String { bytes ? "\(size)" : human(UInt64(clamping: size)) }
}

/// What was taken back, and where it came.
struct RestoreLine: Encodable {
  /// To be shown, and its bytes.
  var path: String
  var pathBytes: Data
  /// Files, directories and others that are what they were.
  var nodes: UInt64
  /// Names that were there and lead to nothing that is kept.
  var missing: UInt64
  /// Of these, how many lead to what they lead to now.
  var stayed: UInt64
  /// Files in it that hold something known to be damaged.
  var damaged: UInt64
  /// Where of the moment that was meant not everything is kept: what it is as of.
  var asOf: String?

  init(_ answer: RestoreAnswer) {
    (path, pathBytes) = ("\(answer.path)", answer.path.bytesForJSON)
    (nodes, missing, stayed, damaged, asOf) = (answer.restored.nodes, answer.restored.missing, answer.restored.stayed, answer.restored.damaged, answer.restored.asOf.map(stamp))
  }
}

/// What taking something back would change.
struct ChangeLine: Encodable {
  /// `returns`, `goes` (to the trash, unless it has another name, or comes back under one) or `changes`.
  var change: RestoreChange.Kind
  var path: String
  var pathBytes: Data
  var isDirectory: Bool

  init(_ change: RestoreChange, _ path: [UInt8]) { (self.change, self.path, pathBytes, isDirectory) = (change.kind, printable(path), Data(path), change.isDirectory) }
}

extension RestoreChange {
  static func listing() -> Listing { Listing(["CHANGE", "PATH"], left: [0, 1]) }
  func row(_ path: String) -> [String] {
    let words = switch kind {
    case .returns: "comes back"
    case .goes: "goes"
    case .changes: "changes"
    }
    return [words, path + (isDirectory && !path.hasSuffix("/") ? "/" : "")]
  }
}

/// A time for programs, by the clock of no place.
private func stamp(_ second: Int64) -> String { Date(timeIntervalSince1970: Double(second)).ISO8601Format() }

struct VersionLine: Encodable {
  var id: UInt64
  var since: String
  var second: Int64
  /// nil where it is the present one.
  var until: String?
  var untilSecond: Int64?
  var isPresent: Bool
  var isPinned: Bool
  var size: UInt64
  var mode: UInt32
  var user: UInt32
  var userName: String
  var inode: UInt64

  init(_ version: FileVersion) {
    (id, since, second) = (version.id, stamp(version.second), version.second)
    (until, untilSecond, isPresent, isPinned) = (version.ended.map(stamp), version.ended, version.died == nil, version.isPinned)
    (size, mode, user, userName, inode) = (version.size, version.mode, version.user, Account.name(ofUser: version.user), version.inode)
  }
}

extension FileVersion {
  static func listing() -> Listing { Listing(["VERSION", "SINCE", "SIZE", "", ""], left: [1, 3, 4]) }
  func row(_ sizes: SizeOption) -> [String] {
    let marks = [died == nil ? "present" : "", isPinned ? "pinned" : ""].filter { !$0.isEmpty }
    return ["\(id)", When.text(of: second), sizes.text(size)] + marks + Array(repeating: "", count: 2 - marks.count)
  }
  func lines(_ sizes: SizeOption) -> String {
    """
    version   \(id)\(isPinned ? "   pinned" : "")
    since     \(When.text(of: second))
    until     \(died == nil ? "now" : ended.map { When.text(of: $0) } ?? "it was replaced or deleted")
    size      \(sizes.text(size))
    mode      \(String(mode & 0o7777, radix: 8))
    owner     user \(Account.name(ofUser: user))
    """
  }
}

struct SnapshotLine: Encodable {
  var name: String
  var nameBytes: Data
  /// Where the directory that it is of is now; nil where it is not there any more, or not for this user to know.
  var path: String?
  var pathBytes: Data?
  /// Where it was, where it is not there any more.
  var formerPath: String?
  var formerPathBytes: Data?
  var directory: UInt64
  var made: String
  var second: Int64
  /// As a version's number: it names the same moment in `fsctl versions`.
  var moment: UInt64

  init(_ snapshot: SnapshotReport) {
    (name, nameBytes) = (printable(snapshot.name), Data(snapshot.name))
    (path, pathBytes) = (snapshot.path.map { "\($0)" }, snapshot.path?.bytesForJSON)
    (formerPath, formerPathBytes) = (snapshot.formerPath.map { "\($0)" }, snapshot.formerPath?.bytesForJSON)
    (directory, made, second, moment) = (snapshot.directory, stamp(snapshot.second), snapshot.second, snapshot.moment)
  }
}

extension SnapshotReport {
  static func listing() -> Listing { Listing(["MADE", "NAME", "OF"], left: [0, 1, 2]) }
  var row: [String] { [When.text(of: second), printable(name), place] }
  var place: String { path.map { "\($0)" } ?? formerPath.map { "\($0), which is gone" } ?? "a directory that is gone or not yours to see" }
  var lines: String {
    """
    name      \(printable(name))
    made      \(When.text(of: second))
    of        \(place)
    moment    \(moment), as `fsctl versions restore` takes it for a directory
    """
  }
}

struct TrashLine: Encodable {
  var id: UInt64
  var name: String
  var nameBytes: Data
  /// Where it was; nil where that is not for this user to know.
  var path: String?
  var pathBytes: Data?
  var deleted: String
  var second: Int64
  var isDirectory: Bool
  var size: UInt64
  var mode: UInt32
  var user: UInt32
  var userName: String
  var inode: UInt64

  init(_ item: TrashItem) {
    let full = item.fullPath
    (id, name, nameBytes) = (item.id, printable(item.name), Data(item.name))
    (path, pathBytes) = (full.map { printable($0) }, full.map { Data($0) })
    (deleted, second, isDirectory, size) = (stamp(item.second), item.second, item.isDirectory, item.size)
    (mode, user, userName, inode) = (item.mode, item.user, Account.name(ofUser: item.user), item.inode)
  }
}

extension TrashItem {
  static func listing() -> Listing { Listing(["NUMBER", "DELETED", "SIZE", "PATH"], left: [1, 3]) }
  func row(_ sizes: SizeOption) -> [String] { ["\(id)", When.text(of: second), kind ?? sizes.text(size), fullPath.map { printable($0) } ?? "…/\(printable(name))"] }
  var isDirectory: Bool { mode & S_IFMT == S_IFDIR }
  /// What it was, where that is no file.
  private var kind: String? {
    switch mode & S_IFMT {
    case S_IFDIR: "directory"
    case S_IFLNK: "symlink"
    case S_IFIFO: "fifo"
    case S_IFSOCK: "socket"
    case S_IFBLK, S_IFCHR: "device"
    default: nil
    }
  }
}
