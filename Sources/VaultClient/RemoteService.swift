// Requests answered by the process that owns the vault, over one of its sockets.
//
// What must stay true:
// 1. A connection has one request at a time; several threads use several connections.
// 2. A connection that an answer did not come to its end on is closed: that is also how an answer is cancelled.
// 3. An owner that says nothing is not waited for: after `WireLimits.patience` it is asked whether it is there, and has
//    as long to say so. One that says so may take any time over the answer itself.

import FoundationEssentials
import Glibc
import Synchronization

public final class RemoteService: VaultService {
  private let address: UnixAddress
  /// For messages.
  private let name: String
  private let kept = Mutex<[Channel]>([])

  /// - Parameter path: of the vault's folder, bytes.
  public convenience init(vault path: [UInt8]) { self.init(UnixAddress(directory: path, name: VaultServer.socketName)) }

  /// The socket for everyone, of a file system that is mounted here.
  /// - Parameter device: `major:minor`, as mount tables have it.
  public convenience init(device: String) { self.init(UnixAddress(directory: Array(PublicDirectory.path.utf8), name: device)) }

  init(_ address: UnixAddress) {
    self.address = address
    name = "the owner's socket \(VaultPath(address.directory).map { "\($0)" } ?? "")/\(address.name)"
  }

  /// Whether somebody listens and answers, at once or within `WireLimits.patience`.
  public var answers: Bool {
    do {
      try ping()
      return true
    } catch let error as ServiceError {
      // Whoever says why not is there.
      return ![.unreachable, .silent, .interrupted, .malformed].contains(error.code) && !(error.code == .notPermitted && !isReachable)
    } catch { return false }
  }
  private var isReachable: Bool { (try? connect()) != nil }

  /// Whether nobody listens: the socket is gone, or whoever made it.
  public var isDeserted: Bool {
    do {
      _ = try connect()
      return false
    } catch { return (error as? ServiceError)?.code == .unreachable }
  }

  public func ask<Request: VaultRequest>(_ request: Request, _ receiver: Receiver<Request.Item>) throws -> Request.Answer {
    let question = Array(try JSONEncoder().encode(Question(request)))
    guard question.count <= FrameKind.request.lengthMax else { throw ServiceError(.invalidArgument, "the request `\(Request.name)` is longer than \(FrameKind.request.lengthMax) bytes") }
    let channel = try keptChannel() ?? connect()
    do {
      // One that is refused at once may be so before it is heard: why, is there to read.
      do throws(ChannelError) { try channel.send(.request, question) } catch { guard case .ended = error else { throw error } }
      return try answer(to: Request.self, on: channel, receiver)
    } catch let error as ChannelError { throw ServiceError(error, speakingTo: name) }
  }

  private func answer<Request: VaultRequest>(to: Request.Type, on channel: Channel, _ receiver: Receiver<Request.Item>) throws -> Request.Answer {
    let decoder = JSONDecoder()
    var isCancelled = false
    func decoded<Value: Decodable>(_ header: FrameHeader) throws -> Value {
      let bytes = try channel.payload(header)
      do { return try decoder.decode(Value.self, from: Data(bytes)) } catch { throw ChannelError.malformed }
    }
    while true {
      if !isCancelled, receiver.isCancelled?() == true {
        isCancelled = true
        channel.endSending()
      }
      guard let header = try channel.header(within: WireLimits.patience) else {
        try checkThere(Request.self)
        continue
      }
      switch header.kind {
      case .progress: try receiver.progress(try decoded(header))
      case .item: try receiver.item(try decoded(header))
      case .bytes: try channel.withPayload(header, receiver.bytes)
      case .end:
        let answer: Request.Answer = try decoded(header)
        if !isCancelled { keep(channel) }
        return answer
      case .error:
        let error: ServiceError = try decoded(header)
        // The connection is as good as before.
        if error.code != .malformed, error.code != .busy, !isCancelled { keep(channel) }
        throw error
      case .request: throw ChannelError.malformed
      }
    }
  }

  /// - Throws: where nothing comes because nobody is there any more.
  private func checkThere<Request: VaultRequest>(_: Request.Type) throws {
    let silence = ServiceError(.silent, "\(name) does not answer: its process may be stopped; `vaultfs status` tells")
    if Request.self is PingRequest.Type { throw silence }
    do { _ = try RemoteService(address).ping() } catch let error as ServiceError where error.code != .busy {
      throw error.code == .silent ? silence : error
    }
  }

  private func connect() throws -> Channel {
    do throws(ChannelError) { return Channel(try address.connect()) } catch {
      // Nobody accepted in time.
      if case .system(EAGAIN) = error { throw ServiceError(.silent, "\(name) does not answer: its process may be stopped; `vaultfs status` tells") }
      throw ServiceError(error, speakingTo: name)
    }
  }

  private func keptChannel() -> Channel? {
    let now = ContinuousClock.now
    return kept.withLock { kept in
      kept.removeAll { $0.lastUse + WireLimits.keptTime < now || $0.isUsed }
      return kept.popLast()
    }
  }

  private func keep(_ channel: Channel) {
    kept.withLock { kept in if kept.count < WireLimits.keptConnectionsMax { kept.append(channel) } }
  }
}
