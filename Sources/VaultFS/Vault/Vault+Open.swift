// Opening a vault after whatever happened to it, and closing it.
//
// Opening: own it, read what it is, open the view, replay the operations it has not seen (Vault+Recovery.swift), sweep
// what was open when the last owner was killed, begin a new journal segment. After a power cut (an unclean end in another
// boot of the computer) the database's log is not trusted: it may be ahead of the journal. The database itself never is.
// Only where the cut came in a checkpoint is the log kept.
// A vault whose journal is damaged is opened only to be looked at, as far as that goes: nothing is added to it.

import Glibc
import Printable

extension Vault {
  /// Who owns the vault at `path` now; nil if nobody does.
  public static func owner(of path: String) -> String? { OwnerLock.owner(of: path) }

  /// Whether the last owner put everything on disk before it ended. False while there is one.
  public static func endedCleanly(_ path: String) -> Bool { unsafe access("\(path)/\(LastEnd.fileName)", F_OK) != 0 }

  /// - Parameter purpose: what this process does with the vault, for those who are refused it meanwhile.
  /// - Parameter tell: told what whoever opens the vault should hear at once. It is in the log, too.
  public static func open(at path: String, purpose: String, readOnly: Bool = false, log: @escaping @Sendable (String) -> Void,
                          tell: (String) -> Void = { _ in }) throws(VaultError) -> Vault {
    try open(at: path, purpose: purpose, readOnly: readOnly, disk: { path throws(VaultError) in try RealDisk(path: path) }, log: log, tell: tell)
  }

  /// - Parameter disk: makes the disk, once the vault is owned.
  static func open(at path: String, purpose: String, readOnly: Bool, disk makeDisk: (String) throws(VaultError) -> any Disk,
                   log: @escaping @Sendable (String) -> Void, tell: (String) -> Void = { _ in }) throws(VaultError) -> Vault {
    func say(_ text: String) {
      log(text)
      tell(text)
    }
    let configuration = try readConfiguration(path)
    let loose = try checkFolder(path)
    let owner = try OwnerLock(vault: path, purpose: purpose)
    if let loose { say(loose) }
    let disk = try makeDisk(path)
    // On a full disk this makes the room that opening needs.
    Reserve(disk).makeRoom()
    let lastEnd = try LastEnd(path, disk)
    if try isViewOutdated(path) {
      log("the metadata database is from an earlier program; making it anew from the journal")
      try rebuild(path, configuration: configuration, disk: disk, lastEnd: lastEnd, log: say) { _ in }
    }
    let reserve = Reserve(disk), containers = try ContainerStore(disk: disk)
    if lastEnd.isPowerCut { log("the computer stopped while the vault was in use; recovering from the journal") }
    if lastEnd.distrustsLog { try discardDatabaseLog(disk) }
    try lastEnd.noteOpening(disk)

    let recovered: Recovered
    do throws(VaultError) { recovered = try recover(path, configuration, containers, reserve, afterPowerCut: lastEnd.isPowerCut, say) } catch {
      guard readOnly, error.isOfJournal else { throw error }
      let found = try recoverDamaged(path, configuration, containers, reserve, afterPowerCut: lastEnd.isPowerCut)
      say("\(error). It is shown as it was after operation \(found.end.lastLSN.value), the last that is known, and nothing is written: copy out what you need")
      return Vault(configuration: configuration, path: path, damagedBy: error, metadata: found.metadata, containers: containers, owner: owner, log: log)
    }
    if let torn = recovered.end.torn { say(try JournalReader(containers: containers, vault: configuration.id, path: path).cut(torn)) }
    let metadata = recovered.metadata
    containers.raiseNext(to: metadata.state.nextContainer)
    var end = recovered.end
    // Where nothing was left to read, the view knows how late it was.
    end.stamp = max(end.stamp, metadata.state.stamp)
    let journal = try Journal(containers: containers, vault: configuration.id, number: containers.takeNumber(), after: end,
                              unsynced: try containers.files(recovered.unsyncedSegments))
    let packs = PackWriter(containers: containers, vault: configuration.id, unsynced: recovered.unsyncedPacks)
    let vault = Vault(configuration: configuration, path: path, metadata: metadata, journal: journal, containers: containers,
                      packs: packs, owner: owner, isReadOnly: readOnly, log: log)
    if lastEnd.isClean, recovered.end.torn == nil, recovered.end.lastLSN == recovered.position.applied { vault.formerPosition = recovered.position }
    do throws(VaultError) {
      try vault.lock.withLock { () throws(VaultError) in
        try metadata.begin()
        try metadata.forgetHeld()
        vault.abandoned = try metadata.abandonedStaging()
        metadata.state.containers.forgetGone { [.pack, .segment].contains(containers.kind($0)) }
        vault.notePosition()
        try vault.commitView()
      }
      if let missing = vault.missingContainers() {
        say(missing)
        vault.lock.withLock { vault.noteDamage(missing) }
      }
      try lastEnd.noteRecovered(disk)
      try vault.sweepOrphans()
    } catch {
      // Its threads must not outlive it.
      vault.saveQueue.close()
      throw error
    }
    vault.keeper = Keeper(vault)
    vault.keeper?.start()
    return vault
  }

  /// - Returns: what is to be said of the vault's folder, if others may change what is in it.
  /// - Throws: where its owner may not.
  private static func checkFolder(_ path: String) throws(VaultError) -> String? {
    var info = stat()
    guard unsafe stat(path, &info) == 0 else { return nil }
    let mode = "0" + String(info.st_mode & 0o7777, radix: 8), quoted = shellQuoted(path)
    if unsafe access(path, R_OK | W_OK | X_OK) != 0, errno == EACCES {
      throw .directoryInUse(path: path, detail: "the folder has mode \(mode), and whoever uses a vault must write to it, even to look (--read-only); `chmod 700 \(quoted)` lets its owner do so")
    }
    return info.st_mode & 0o022 == 0 ? nil : "others may write to the folder \(path), for it has mode \(mode): they can take the vault's files away, or put others in their place; `chmod go-w \(quoted)` keeps them out"
  }

  /// A vault whose journal is damaged, to be looked at.
  private convenience init(configuration: VaultConfiguration, path: String, damagedBy error: VaultError, metadata: Metadata, containers: ContainerStore,
                           owner: OwnerLock, log: @escaping @Sendable (String) -> Void) {
    self.init(configuration: configuration, path: path, metadata: metadata, journal: Journal(closed: containers, vault: configuration.id, after: metadata.state.applied),
              containers: containers, packs: PackWriter(containers: containers, vault: configuration.id), owner: owner, isReadOnly: true, log: log)
    isClosedForDamage = true
    damage = "\(error)"
    failure = damage
  }

  static let closedReason = "it is closed"

  /// Saves and syncs everything and lets go of the vault. Calling it again does nothing.
  /// - Throws: what kept the vault from being clean; also what made it read-only long before.
  public func shutDown() throws(VaultError) {
    keeper?.stop()
    saveQueue.close()
    if isClosedForDamage {
      return letGo()
    }
    defer { lock.withLock { failure = failure ?? Self.closedReason } }
    if let reason = lock.withLock({ failure }) {
      if reason == Self.closedReason { return }
      throw .readOnly(reason: reason)
    }
    var lost: VaultError?
    do throws(VaultError) { try syncAll() } catch { lost = error }
    // Nothing that is read depends on the footer: a full disk may do without.
    do throws(VaultError) { try packs.seal() } catch { if case .diskFull = error {} else { throw error } }
    let isTraceless = try takeBackPosition()
    try checkpoint()
    if isTraceless { try? containers.remove(journal.segment) } else { try mark() }
    if let lost { throw lost }
    if containers.disk.exists(LastEnd.fileName) { try containers.disk.remove(LastEnd.fileName) }
    letGo()
  }

  /// Whoever only looks leaves no segment behind: the view goes on where it did before, and the mark that a clean end left there attests
  /// all of it. (One with a mark stays: what was collected relies on that.)
  /// - Returns: whether nothing refers to the segment any more once that is durable.
  private func takeBackPosition() throws(VaultError) -> Bool {
    try lock.withLock { () throws(VaultError) in
      guard let formerPosition, journal.isEmpty, journal.lastLSN == formerPosition.applied else { return false }
      try metadata.begin()
      (metadata.state.segment, metadata.state.segmentOffset) = (formerPosition.segment, formerPosition.offset)
      return true
    }
  }

  /// Whoever owns it next finds nothing in use: the database's own locks go first.
  private func letGo() {
    // What was given up to get here is taken again, where it can be: others may fill the disk before the next opening.
    if !isClosedForDamage { _ = try? reserve.space() }
    lock.withLock { metadata.database.close() }
    owner.release()
  }

  /// Nodes without a name that were open when the last owner ended.
  private func sweepOrphans() throws(VaultError) {
    if isReadOnly { return }
    let found = try lock.withLock { () throws(VaultError) in
      let select = try metadata.database.prepare("SELECT inode FROM orphan")
      defer { select.reset() }
      while try select.step() { orphans.insert(InodeNumber(select.unsigned(0))) }
      // What the journal is told must fit it: the drop of what is not there, or has a name, could never be replayed.
      for inode in orphans {
        guard let node = try? metadata.node(inode), node.links == 0 else { throw metadata.damaged("it lists node \(inode.value) among those without a name") }
      }
      return orphans
    }
    for inode in found { try dropOrphan(inode) }
  }
}
