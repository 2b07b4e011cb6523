// One thing that must hold in the view, looked for in a copy of it. Each has a file of its own in Check/Invariants.

protocol Invariant {
  /// What breaks it.
  static var kind: Finding.Kind { get }
  /// Reports all that breaks it.
  static func look(_ copy: ViewCopy, _ work: CheckWork) throws
}

enum Invariants {
  /// Those that are asked of the tables, in the order in which they are looked at.
  static var ofTables: [any Invariant.Type] { [
    RootMissing.self, NodeNumber.self, NodeEpoch.self, NodeUnreachable.self,
    EntryDangling.self, EntryType.self, EntryParent.self, EntryName.self, EntryCookie.self, EntryTwice.self,
    DirectoryNames.self, DirectoryParent.self, DirectoryCycle.self,
    Links.self, DirectoryLinks.self, DirectoryEntries.self, OrphanRows.self, XattrOwner.self, XattrFlag.self, PageOwner.self,
    LinkHomes.self, UsageTrees.self, UsageOwners.self, QuotaTrees.self,
    ChunkNumbers.self,
    CounterNodes.self, CounterLogical.self, CounterChunks.self, CounterUnique.self,
    ContainerChunks.self, ContainerFrames.self, ContainerMissing.self, ContainerShort.self, ContainerNumbers.self,
    PastInterval.self, PastOverlap.self, PastRecord.self, PastOwner.self, PastChunk.self, PastHeld.self, PastTrash.self, PastMoment.self,
  ] }
}
