// Extended attributes in the view, and what those of a node take together.
//
// What must stay true: a node's `xattrUse`, once counted, is kept with every change; so no change looks at all of them.

/// What a node's attributes take, bytes.
struct XattrUse: Equatable {
  var count = 0
  /// As listxattr(2) tells them: each with a NUL.
  var names = 0
  var values = 0
  var bytes: Int { names + values }

  /// After a value of `old` bytes gave way to one of `new`; nil where there is none.
  func replacing(_ name: [UInt8], _ old: Int?, by new: Int?) -> XattrUse {
    var use = self
    if let old { (use.count, use.names, use.values) = (use.count - 1, use.names - name.count - 1, use.values - old) }
    if let new { (use.count, use.names, use.values) = (use.count + 1, use.names + name.count + 1, use.values + new) }
    return use
  }
}

extension Metadata {
  func xattr(_ name: [UInt8], of node: Node) throws(VaultError) -> [UInt8]? {
    guard node.hasXattrs else { return nil }
    let select = node.moment == nil ? statements.selectXattr : statements.selectPastXattr
    select.bind(1, node.inode.value)
    select.bind(2, copying: name)
    if let moment = node.moment { select.bind(3, moment.value) }
    defer { select.reset() }
    return try select.step() ? select.bytes(0) : nil
  }

  func xattrNames(of node: Node) throws(VaultError) -> [[UInt8]] {
    guard node.hasXattrs else { return [] }
    let list = node.moment == nil ? statements.listXattrs : statements.listPastXattrs
    list.bind(1, node.inode.value)
    if let moment = node.moment { list.bind(2, moment.value) }
    defer { list.reset() }
    var names: [[UInt8]] = []
    while try list.step() { names.append(list.bytes(0)) }
    return names
  }

  func xattrUse(of node: Node) throws(VaultError) -> XattrUse {
    guard node.hasXattrs else { return XattrUse() }
    if let use = node.xattrUse { return use }
    let count = statements.countXattrs
    count.bind(1, node.inode.value)
    defer { count.reset() }
    guard try count.step() else { return XattrUse() }
    let use = XattrUse(count: Int(count.integer(0)), names: Int(count.integer(1)), values: Int(count.integer(2)))
    node.xattrUse = use
    return use
  }

  func writeXattr(_ name: [UInt8], _ value: [UInt8], of node: Node) throws(VaultError) {
    let use = try xattrUse(of: node).replacing(name, try xattr(name, of: node)?.count, by: value.count)
    if node.hasXattrs { try keepXattr(name, of: node) }
    let write = statements.writeXattr
    write.bind(1, node.inode.value)
    write.bind(2, copying: name)
    write.bind(3, copying: value)
    write.bind(4, node.since.value)
    try write.run()
    (node.hasXattrs, node.xattrUse) = (true, use)
  }

  func removeXattr(_ name: [UInt8], of node: Node) throws(VaultError) {
    let use = try xattrUse(of: node).replacing(name, try xattr(name, of: node)?.count, by: nil)
    try keepXattr(name, of: node)
    let delete = statements.deleteXattr
    delete.bind(1, node.inode.value)
    delete.bind(2, copying: name)
    try delete.run()
    (node.hasXattrs, node.xattrUse) = (use.count > 0, use)
  }
}
