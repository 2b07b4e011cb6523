// Homes: which of a node's directories it is charged to, where it has several names.
//
// What must stay true: `node.parent` is a directory that has a name of the node. Of a node with several names one is at
// home, and `link` has a row for each of the others, so that a home can be found for it when that name goes. (So a node
// with one name, as nearly all are, costs no row, and the first name's place need not be looked for when the second comes.)

extension Metadata {
  /// Where a name is.
  struct Place: Equatable {
    var parent: InodeNumber
    var cookie: UInt64
  }

  /// `node` has a new name; its links count it already.
  func join(_ node: Node, at place: Place) throws(VaultError) {
    // (A directory that gets a name is one that a repair found without.)
    guard node.links == 1 || node.isDirectory else { return try insertLink(node, place) }
    node.parent = place.parent
    try chargeTrees(weight(of: node), from: place.parent)
    notePlacement(of: node)
  }

  /// The name there is about to go; its links count it still.
  func leave(_ node: Node, at place: Place) throws(VaultError) {
    if node.isDirectory || node.links <= 1 {
      if let home = home(of: node) { try chargeTrees(weight(of: node).negated, from: home) }
      notePlacement(of: node)
      if node.isDirectory { try endQuota(of: node) }
      return
    }
    if try hasLink(node, place) { return try deleteLink(node, place) }
    let next = try firstLink(node)
    try deleteLink(node, next)
    try setHome(of: node, next.parent)
  }

  /// A name moves from one place to another.
  func move(_ node: Node, from old: Place, to new: Place) throws(VaultError) {
    if try isHome(old, of: node) { return try setHome(of: node, new.parent) }
    try deleteLink(node, old)
    try insertLink(node, new)
  }

  /// Whether the name there is the one that is at home.
  func isHome(_ place: Place, of node: Node) throws(VaultError) -> Bool {
    if node.isDirectory || node.links <= 1 { return true }
    return try !hasLink(node, place)
  }

  /// Names beyond which nobody looks whether a directory that crosses a limit leaves some behind: the lock is held meanwhile.
  private static let linksLookedAtMax = 5000

  /// Whether a name that moves into other limited trees leaves one of the same node where these do not count; of a directory, whether
  /// something below it has a name outside.
  func leavesNames(of node: Node, at place: Place, entering trees: Set<QuotaSubject>) throws(VaultError) -> Bool {
    if node.isDirectory { return try hasNamesOnBothSides(of: node) }
    if node.links <= 1 { return false }
    var others = try isHome(place, of: node) ? [] : [node.parent]
    let select = try database.prepare("SELECT parent, cookie FROM link WHERE inode = ? LIMIT ?")
    select.bind(1, node.inode.value)
    select.bind(2, UInt64(Self.linksLookedAtMax + 1))
    while try select.step() { if Place(parent: InodeNumber(select.unsigned(0)), cookie: select.unsigned(1)) != place { others.append(InodeNumber(select.unsigned(0))) } }
    if others.count > Self.linksLookedAtMax { return true }
    for directory in Set(others) { if try Set(limitedTrees(from: directory)) != trees { return true } }
    return false
  }

  /// True also where there are too many names to tell.
  private func hasNamesOnBothSides(of directory: Node) throws(VaultError) -> Bool {
    let select = try database.prepare("SELECT inode, parent FROM link LIMIT \(Self.linksLookedAtMax + 1)")
    var known: [InodeNumber: Bool] = [:], links: [(InodeNumber, InodeNumber)] = []
    func isBelow(_ home: InodeNumber) throws(VaultError) -> Bool {
      if let known = known[home] { return known }
      var isBelow = false
      try eachDirectory(from: home) { if $0 === directory { isBelow = true } }
      known[home] = isBelow
      return isBelow
    }
    while try select.step() { links.append((InodeNumber(select.unsigned(0)), InodeNumber(select.unsigned(1)))) }
    if links.count > Self.linksLookedAtMax { return true }
    for (inode, parent) in links { if try isBelow(parent) != isBelow(node(inode).parent) { return true } }
    return false
  }

  private func setHome(of node: Node, _ home: InodeNumber) throws(VaultError) {
    guard node.parent != home else { return }
    let weight = weight(of: node)
    try chargeTrees(weight.negated, from: node.parent)
    try chargeTrees(weight, from: home)
    node.parent = home
    touch(node)
    notePlacement(of: node)
  }

  /// Nearly all that comes and goes has nothing unsaved: for that, nothing needs to be added up anew.
  private func notePlacement(of node: Node) {
    if node.isDirectory ? node.below != Usage() : (node.unsaved?.growth ?? 0) > 0 { state.quotas.notePlacement() }
  }

  // MARK: Rows

  private func hasLink(_ node: Node, _ place: Place) throws(VaultError) -> Bool {
    bind(statements.selectLink, node, place)
    defer { statements.selectLink.reset() }
    return try statements.selectLink.step()
  }

  /// Whichever, but the same in every replay.
  private func firstLink(_ node: Node) throws(VaultError) -> Place {
    let first = statements.firstLink
    first.bind(1, node.inode.value)
    defer { first.reset() }
    guard try first.step() else { throw damaged("the names of node \(node.inode.value) are not known") }
    return Place(parent: InodeNumber(first.unsigned(0)), cookie: first.unsigned(1))
  }

  /// Of a node's names, these are not at home.
  func setLinks(of node: Node, _ places: [Place]) throws(VaultError) {
    let delete = try database.prepare("DELETE FROM link WHERE inode = ?")
    delete.bind(1, node.inode.value)
    try delete.run()
    for place in places { try insertLink(node, place) }
  }

  private func insertLink(_ node: Node, _ place: Place) throws(VaultError) {
    bind(statements.insertLink, node, place)
    try statements.insertLink.run()
  }

  private func deleteLink(_ node: Node, _ place: Place) throws(VaultError) {
    bind(statements.deleteLink, node, place)
    try statements.deleteLink.run()
  }

  private func bind(_ statement: Statement, _ node: Node, _ place: Place) {
    statement.bind(1, node.inode.value)
    statement.bind(2, place.parent.value)
    statement.bind(3, place.cookie)
  }
}
