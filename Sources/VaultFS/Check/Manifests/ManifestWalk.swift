// Walks the manifests of the copy, file by file and page by page, and shows each to the invariants of manifests.
//
// What must stay true: no more than a page of extents is in memory. A page that cannot be read is a finding, and shown to nobody.

import Glibc

/// A file whose manifest is walked.
struct WalkedFile {
  var inode: UInt64
  var size: UInt64
  var allocated: UInt64
}

/// One thing that must hold of manifests. Its calls come in the order of the file.
protocol ManifestInvariant: AnyObject {
  init(_ copy: ViewCopy) throws
  func begin(_ file: WalkedFile)
  /// - Parameter start: the page's key; 0 of a manifest in its node's row.
  func visit(_ extents: [Extent], at start: UInt64, of file: WalkedFile, _ work: CheckWork) throws
  func end(_ file: WalkedFile, _ work: CheckWork)
}

extension ManifestInvariant {
  func begin(_ file: WalkedFile) {}
  func end(_ file: WalkedFile, _ work: CheckWork) {}
}

enum ManifestWalk {
  private static var invariants: [any ManifestInvariant.Type] { [ManifestOrder.self, ManifestEnd.self, ManifestAllocated.self, ManifestChunk.self, ManifestPart.self] }

  static func look(_ copy: ViewCopy, _ work: CheckWork) throws {
    var invariants: [any ManifestInvariant] = []
    for type in Self.invariants { invariants.append(try type.init(copy)) }
    let pages = try copy.database.prepare("SELECT start, extents FROM page WHERE inode = ? ORDER BY start")
    let all = Double(max(copy.state.counters.nodes, 1))
    var count = 0
    try copy.each("SELECT s.inode, s.size, s.allocated, n.record FROM shape AS s JOIN node AS n ON n.inode = s.inode WHERE s.type = \(S_IFREG) ORDER BY s.inode", work: work) { row in
      count += 1
      if count & 0x3FFF == 0 { try work.proceed(Double(count) / all) }
      let file = WalkedFile(inode: row.unsigned(0), size: row.unsigned(1), allocated: row.unsigned(2))
      guard let node = unsafe try? Node(inode: InodeNumber(file.inode), decoding: row.raw(3)) else { return }
      for invariant in invariants { invariant.begin(file) }
      var isWhole = true
      if node.paged {
        isWhole = try walk(pages, of: file, invariants, work)
      } else {
        for invariant in invariants { try invariant.visit(node.extents, at: 0, of: file, work) }
      }
      // What is told of the whole would be wrong for a part.
      if isWhole { for invariant in invariants { invariant.end(file, work) } }
    }
  }

  /// - Returns: whether all of it could be read.
  private static func walk(_ pages: Statement, of file: WalkedFile, _ invariants: [any ManifestInvariant], _ work: CheckWork) throws -> Bool {
    pages.bind(1, file.inode)
    defer { pages.reset() }
    var isWhole = true
    while try pages.step() {
      try work.proceed()
      let start = pages.unsigned(0)
      var reader = unsafe ByteReader(pages.raw(1))
      guard let extents = try? [Extent](decoding: &reader, max: Limits.pageExtentsMax), reader.isAtEnd, !extents.isEmpty else {
        work.found(Finding(.manifestPage, inode: file.inode, table: "page", key: [file.inode, start], "a manifest page of node \(file.inode) cannot be read, or is empty"))
        isWhole = false
        continue
      }
      for invariant in invariants { try invariant.visit(extents, at: start, of: file, work) }
    }
    return isWhole
  }
}
