// A request on the wire: its name, and what it holds.

import FoundationEssentials

struct Question: Codable {
  let request: any VaultRequest

  init(_ request: any VaultRequest) { self.request = request }

  private enum Key: CodingKey { case request, arguments }

  init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: Key.self), name = try fields.decode(String.self, forKey: .request)
    guard let type = Catalogue.requests[name] else {
      throw ServiceError(.unknownRequest, "the owner does not know the request `\(name.prefix(64).filter { $0.isASCII && ($0.isLetter || $0 == "-") })`; it may be an earlier version of this program: mount the vault anew")
    }
    request = try Self.decode(type, fields)
  }
  private static func decode<Request: VaultRequest>(_ type: Request.Type, _ fields: KeyedDecodingContainer<Key>) throws -> any VaultRequest {
    try fields.decode(type, forKey: .arguments)
  }

  func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: Key.self)
    try fields.encode(type(of: request).name, forKey: .request)
    try fields.encode(request, forKey: .arguments)
  }
}
