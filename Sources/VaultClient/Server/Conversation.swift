// One connection, seen by the owner: requests one after another, each answered by frames, until the client goes, stalls
// or says nothing for a while.

import FoundationEssentials

struct Conversation {
  let host: ServiceHost
  let peer: Peer
  let channel: Channel
  /// Why this peer gets no answer, if so.
  let refusal: ServiceError?

  func run() {
    while true {
      do {
        guard let header = try channel.header(within: WireLimits.idleTime), header.kind == .request else { return refuse() }
        let question = try channel.payload(header)
        do { try answer(question) } catch let error as ChannelError { throw error } catch { try fail(ServiceError(anything: error)) }
      } catch ChannelError.malformed, ChannelError.tooLarge { return refuse() } catch { return }
    }
  }

  /// What comes behind this cannot be read.
  private func refuse() {
    try? fail(ServiceError(.malformed, "the request is not understood; the owner may be another version of this program: mount the vault anew"))
  }

  private func answer(_ question: [UInt8]) throws {
    if let refusal { throw refusal }
    let request: any VaultRequest
    do { request = try JSONDecoder().decode(Question.self, from: Data(question)).request } catch let error as ServiceError { throw error } catch {
      throw ServiceError(.invalidArgument, "the arguments of the request are not understood; the owner may be another version of this program: mount the vault anew")
    }
    try perform(request)
  }

  private func perform<Request: VaultRequest>(_ request: Request) throws {
    let encoder = JSONEncoder(), channel = channel
    let receiver = Receiver<Request.Item>(
      progress: { try channel.send(.progress, Array(try encoder.encode($0))) },
      item: { try channel.send(.item, Array(try encoder.encode($0)), isUrgent: false) },
      bytes: { try channel.send(.bytes, $0, isUrgent: false) },
      checkCancelled: { if channel.hasEnded { throw ChannelError.ended } })
    let answer = try request.answer(in: host, for: peer, receiver)
    try channel.send(.end, Array(try encoder.encode(answer)))
  }

  private func fail(_ error: ServiceError) throws {
    var bytes = Array(try JSONEncoder().encode(error))
    if bytes.count > WireLimits.errorBytesMax { bytes = Array(try JSONEncoder().encode(ServiceError(error.code, String(error.message.prefix(1000))))) }
    try channel.send(.error, bytes)
  }
}
