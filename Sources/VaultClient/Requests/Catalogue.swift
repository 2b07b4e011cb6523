// Every request the owner answers, by its name on the wire.

enum Catalogue {
  private static let all: [any VaultRequest.Type] = [
    PingRequest.self, StatusRequest.self, StatsRequest.self, SyncRequest.self, ActivityRequest.self, ReadRequest.self,
    VersionsRequest.self, ReadVersionRequest.self, RestoreRequest.self, PinRequest.self, PruneRequest.self,
    SnapshotsRequest.self, MakeSnapshotRequest.self, DeleteSnapshotRequest.self, TrashRequest.self, RestoreTrashRequest.self, EmptyTrashRequest.self,
    HistoryPolicyRequest.self, ExpiringRequest.self, CollectRequest.self,
    QuotasRequest.self, QuotaRequest.self, SetQuotaRequest.self, RemoveQuotaRequest.self, CheckRequest.self, ScrubRequest.self,
  ]
  static let requests = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })
}
