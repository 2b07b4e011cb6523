// Every request the owner answers, by its name on the wire.

enum Catalogue {
  private static let all: [any VaultRequest.Type] = [
    PingRequest.self, StatusRequest.self, StatsRequest.self, SyncRequest.self, ActivityRequest.self, ReadRequest.self,
  ]
  static let requests = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })
}
