// Who is connected: how many there may be, and how all of them are told that it is over.

import Synchronization

final class Clients: Sendable {
  private struct State {
    var channels: [Int: Channel] = [:]
    var ofUser: [UInt32: Int] = [:]
    var ordinary = 0
    var next = 0
    var isOver = false
  }
  private let state = Mutex(State())

  /// - Returns: a number to leave by; nil where there is no room, or it is over.
  func admit(_ peer: Peer, _ channel: Channel) -> Int? {
    state.withLock { state in
      let isOrdinary = !peer.isAdministrator
      guard !state.isOver, state.channels.count < WireLimits.clientsMax else { return nil }
      if isOrdinary, state.ordinary >= WireLimits.ordinaryClientsMax || state.ofUser[peer.user, default: 0] >= WireLimits.clientsPerUserMax { return nil }
      state.next += 1
      state.channels[state.next] = channel
      if isOrdinary {
        state.ordinary += 1
        state.ofUser[peer.user, default: 0] += 1
      }
      return state.next
    }
  }

  func leave(_ number: Int, _ peer: Peer) {
    state.withLock { state in
      guard state.channels.removeValue(forKey: number) != nil, !peer.isAdministrator else { return }
      state.ordinary -= 1
      state.ofUser[peer.user, default: 1] -= 1
      if state.ofUser[peer.user] == 0 { state.ofUser[peer.user] = nil }
    }
  }

  var count: Int { state.withLock { $0.channels.count } }

  /// Nobody comes any more, and whoever is there hears no more.
  func end() {
    let channels = state.withLock { state in
      state.isOver = true
      return Array(state.channels.values)
    }
    for channel in channels { channel.hangUp() }
  }
}
