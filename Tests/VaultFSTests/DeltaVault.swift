// A vault with a frame that was compressed against one in another pack.

import Testing
@testable import VaultFS

/// - Returns: a chunk in such a frame, the frame that it needs, and what the files hold. The keeper has ended.
func makeDelta(in home: Home) throws -> (delta: StoredChunk, base: FramePlace, contents: [String: [UInt8]]) {
  var content = [UInt8]((0..<20_000).map { "line \($0 * 31 % 9973) of many\n" }.joined()), contents = ["a": content]
  try home.vault.makeFile("a", content)
  try home.optimise()
  home.vault.keeper?.stop()
  let optimiser = Optimiser(home.vault) { true }
  for (name, start, step) in [("b", 1000, 9000), ("c", 3000, 7000)] {
    for index in stride(from: start, to: content.count, by: step) { content[index] ^= 1 }
    contents[name] = content
    try home.vault.makeFile(name, content)
    try home.vault.syncAll()
    try optimiser.run()
  }
  let all = try home.vault.lock.withLock { () throws -> [(StoredChunk, FramePlace)] in
    try home.vault.commit()
    let select = try home.vault.metadata.database.prepare("SELECT \(StoredChunk.columns) FROM chunk")
    var all: [(StoredChunk, FramePlace)] = []
    while try select.step() {
      let chunk = try #require(StoredChunk(select))
      if let base = try PlaceReader(home.vault.containers).header(at: chunk.place.frame)?.base { all.append((chunk, base)) }
    }
    return all
  }
  let (delta, base) = try #require(all.first { $0.0.place.frame.container != $0.1.container }, "there is a frame with a base elsewhere")
  return (delta, base, contents)
}
