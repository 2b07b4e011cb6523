// The limits that are set, and since when each soft one has been exceeded.
//
// What must stay true:
// 1. A limit's `since` is there exactly while the usage is above it, between two operations; it is the stamp of the
//    operation that crossed it, or that set it below the usage. No clock is asked: a replay finds the same moment.
// 2. The limit of a tree ends with the directory's name, and comes back with what is made of its past.
// Part of the view's state: in memory as a whole, written with every commit.

struct Quotas {
  struct Entry {
    var limits: QuotaLimits
    /// Stamps; nil where the usage is not above the soft limit.
    var bytesSince: UInt64?
    var nodesSince: UInt64?

    subscript(since resource: QuotaResource) -> UInt64? {
      get { resource == .bytes ? bytesSince : nodesSince }
      set { if resource == .bytes { bytesSince = newValue } else { nodesSince = newValue } }
    }

    /// When the grace is over and the soft limit is as hard as the other; nil where it is not exceeded.
    func end(of resource: QuotaResource) -> UInt64? {
      guard let since = self[since: resource] else { return nil }
      let (end, overflow) = since.addingReportingOverflow(UInt64(limits.graceSeconds) * 1_000_000_000)
      return overflow ? UInt64.max : end
    }

    /// Whether the soft limit is as hard as the other.
    func isGraceOver(_ resource: QuotaResource, at now: UInt64) -> Bool {
      limits.graceSeconds == 0 || end(of: resource).map { now >= $0 } ?? false
    }

    /// What cannot be exceeded now; where only a soft limit is set, that.
    func limit(_ resource: QuotaResource, at now: UInt64) -> UInt64? {
      let limit = limits[resource]
      guard let soft = limit.soft, let hard = limit.hard else { return limit.hard ?? limit.soft }
      return isGraceOver(resource, at: now) ? soft : hard
    }
  }
  /// A soft limit of a subject was exceeded.
  struct Crossing: Hashable {
    var subject: QuotaSubject
    var resource: QuotaResource
  }

  private(set) var entries: [QuotaSubject: Entry] = [:]
  private(set) var trees = 0
  /// Goes up when something changes hands or places: what was added up by subject before that is no longer so.
  private(set) var placements: UInt64 = 0
  private var touched: Set<QuotaSubject> = []
  private var changed: Set<QuotaSubject> = []
  private(set) var crossings: Set<Crossing> = []

  init() {}

  var isEmpty: Bool { entries.isEmpty }
  subscript(subject: QuotaSubject) -> Entry? { entries[subject] }

  mutating func set(_ limits: QuotaLimits, for subject: QuotaSubject) {
    if entries[subject] == nil, case .tree = subject { trees += 1 }
    entries[subject, default: Entry(limits: limits)].limits = limits
    touched.insert(subject)
    changed.insert(subject)
    placements &+= 1
  }

  /// - Returns: whether there was a limit.
  @discardableResult
  mutating func remove(_ subject: QuotaSubject) -> Bool {
    guard entries.removeValue(forKey: subject) != nil else { return false }
    if case .tree = subject { trees -= 1 }
    changed.insert(subject)
    crossings = crossings.filter { $0.subject != subject }
    placements &+= 1
    return true
  }

  mutating func notePlacement() { placements &+= 1 }

  /// The usage of `subject` changed.
  mutating func touch(_ subject: QuotaSubject) {
    if entries[subject] != nil { touched.insert(subject) }
  }

  /// The subjects whose usage changed since this was called last.
  mutating func takeTouched() -> Set<QuotaSubject> {
    if touched.isEmpty { return touched }
    defer { touched.removeAll(keepingCapacity: true) }
    return touched
  }

  /// An operation is over, and `subject` takes `usage` now.
  mutating func settle(_ subject: QuotaSubject, _ usage: Usage, stamp: UInt64) {
    guard var entry = entries[subject] else { return }
    for resource in QuotaResource.allCases {
      let isOver = entry.limits[resource].soft.map { usage[resource] > $0 } ?? false
      guard isOver != (entry[since: resource] != nil) else { continue }
      entry[since: resource] = isOver ? stamp : nil
      changed.insert(subject)
      let crossing = Crossing(subject: subject, resource: resource)
      if isOver { crossings.insert(crossing) } else { crossings.remove(crossing) }
    }
    entries[subject] = entry
  }

  /// Soft limits that were crossed since this was called last, and are exceeded still.
  mutating func takeCrossings() -> Set<Crossing> {
    defer { crossings.removeAll() }
    return crossings
  }
}

// MARK: Rows

extension Quotas {
  init(_ database: Database) throws(VaultError) {
    let select = try database.prepare("SELECT kind, id, record FROM quota")
    while try select.step() {
      guard let subject = QuotaSubject(kind: select.unsigned(0), id: select.unsigned(1)), let entry = try? unsafe Entry(decoding: select.raw(2)) else {
        throw .databaseDamaged(detail: "the row of a quota")
      }
      entries[subject] = entry
      if case .tree = subject { trees += 1 }
    }
  }

  mutating func write(_ statements: Statements) throws(VaultError) {
    for subject in changed {
      let (kind, id) = subject.row
      let statement = entries[subject] == nil ? statements.deleteQuota : statements.writeQuota
      statement.bind(1, kind)
      statement.bind(2, id)
      if let entry = entries[subject] { statement.bind(3, copying: entry.encoded()) }
      try statement.run()
    }
    changed.removeAll(keepingCapacity: true)
  }
}

extension Quotas.Entry {
  fileprivate func encoded() -> [UInt8] {
    var w = ByteWriter(capacity: 64)
    w.quotaLimits(limits)
    w.u8((bytesSince == nil ? 0 : 1) | (nodesSince == nil ? 0 : 2))
    for since in [bytesSince, nodesSince] { if let since { w.varint(since) } }
    return w.bytes
  }

  fileprivate init(decoding bytes: UnsafeRawBufferPointer) throws(Malformed) {
    var r = unsafe ByteReader(bytes)
    limits = try r.quotaLimits()
    let bits = try r.u8()
    guard bits < 4 else { throw Malformed() }
    if bits & 1 != 0 { bytesSince = try r.varint() }
    if bits & 2 != 0 { nodesSince = try r.varint() }
    guard r.isAtEnd else { throw Malformed() }
  }
}
