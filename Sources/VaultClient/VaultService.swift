// What can be asked of a vault, and how: one protocol, the same whether the vault is open in this process
// (`LocalService`) or another owns it (`RemoteService`). Synchronous and thread-safe.
//
// To add a request: a file in Requests/ with a type that is a `VaultRequest` and a method in an extension of
// `VaultService` that asks it, and its line in `Catalogue`. Nothing else knows requests one by one.

public protocol VaultService: Sendable {
  /// Asks, hands on what comes, and returns what the answer ends with. What `receiver` throws ends the asking.
  /// - Throws: `ServiceError`, or what `receiver` throws.
  func ask<Request: VaultRequest>(_ request: Request, _ receiver: Receiver<Request.Item>) throws -> Request.Answer
}

extension VaultService {
  public func ask<Request: VaultRequest>(_ request: Request) throws -> Request.Answer { try ask(request, Receiver()) }
}

/// One thing that can be asked. What it holds crosses the wire as JSON; names and paths are bytes in it (`VaultPath`).
public protocol VaultRequest: Codable, Sendable {
  /// What one item of the answer is, where there are any.
  associatedtype Item: Codable & Sendable = Nothing
  /// What the answer ends with.
  associatedtype Answer: Codable & Sendable = Nothing
  /// What it is called on the wire: a lower-case word, for ever.
  static var name: String { get }
  /// What people type to ask it, for messages.
  static var command: String { get }
  static var access: Access { get }
  /// Answers it. `peer` was checked against `access`; anything finer is decided here, by `Peer`.
  func perform(in host: ServiceHost, for peer: Peer, _ answer: Receiver<Item>) throws -> Answer
}

public struct Nothing: Codable, Sendable {
  public init() {}
}

/// Who may ask a request at all.
public enum Access: Sendable {
  case administrators
  /// Whoever reaches the mount. What a request shows of nodes, it asks `Peer` for one by one.
  case everyone
}

/// Takes an answer's parts as they come, in the thread that asks. What a closure throws ends the answer.
public struct Receiver<Item> {
  public var progress: (Progress) throws -> Void
  public var item: (Item) throws -> Void
  /// At most `WireLimits.bulkBytesMax` at once, valid for the call.
  public var bytes: (RawSpan) throws -> Void
  /// Throws where nobody waits for the answer any more. Long work without parts asks now and then.
  public var checkCancelled: () throws -> Void
  /// Where it is there, and becomes true, the work is to end, and whoever asked waits for what came of it.
  public var isCancelled: (() -> Bool)?

  public init(progress: @escaping (Progress) throws -> Void = { _ in }, item: @escaping (Item) throws -> Void = { _ in },
              bytes: @escaping (RawSpan) throws -> Void = { _ in }, checkCancelled: @escaping () throws -> Void = {}) {
    (self.progress, self.item, self.bytes, self.checkCancelled) = (progress, item, bytes, checkCancelled)
  }
}

/// How far long work is.
public struct Progress: Codable, Sendable {
  /// What is being done, a few words.
  public var what: String
  public var done: UInt64
  /// nil where nobody knows.
  public var total: UInt64?
  /// `done` and `total` are bytes, and not shares alone.
  public var isBytes: Bool?
  /// nil where it is not known better than by what is done.
  public var secondsLeft: Double?
  public init(_ what: String, done: UInt64, total: UInt64? = nil) { (self.what, self.done, self.total) = (what, done, total) }
}

extension VaultRequest {
  public static var command: String { "fsctl \(name)" }

  /// The one way to a request's answer, for both implementations.
  func answer(in host: ServiceHost, for peer: Peer, _ receiver: Receiver<Item>) throws -> Answer {
    if Self.access == .administrators, !peer.isAdministrator {
      throw ServiceError(.notPermitted, "`\(Self.command)` is for root and for the user the vault belongs to; ask as one of them")
    }
    return try perform(in: host, for: peer, receiver)
  }
}
