// Which containers the threads of a scrub have read, and what of that is told to the scrub that goes on from here.
//
// What must stay true: the position is before everything that was not read, or was not sound.

import Synchronization

/// Which container is next, and which are being read.
final class ScrubQueue: Sendable {
  struct State {
    var next = 0
    /// Those that are being read.
    var open: Set<Int> = []
    /// Those in which something was found, which is not noted before the end: a scrub that goes on from here reads them again.
    var again: Set<Int> = []
    /// Of the others: all before the first open one; and those behind that, each.
    var settled = ScrubCounts()
    var behind: [Int: ScrubCounts] = [:]
    var threads: Int
  }
  let state: Mutex<State>
  let numbers: [ContainerNumber]
  init(_ numbers: [ContainerNumber], threads: Int) {
    self.numbers = numbers
    state = Mutex(State(threads: threads))
  }

  func take() -> Int? {
    state.withLock { state in
      guard state.next < numbers.count else { return nil }
      state.open.insert(state.next)
      state.next += 1
      return state.next - 1
    }
  }
  func done(_ index: Int, _ read: ScrubCounts, isSound: Bool) {
    state.withLock { state in
      if isSound { state.behind[index] = read } else {
        // What is too much to remember stays to be read.
        if state.again.count == ScrubPosition.againMax { return }
        state.again.insert(index)
      }
      state.open.remove(index)
      let first = state.open.min() ?? state.next
      for (index, read) in state.behind where index < first {
        state.settled += read
        state.behind[index] = nil
      }
    }
  }
  func threadEnds() { state.withLock { $0.threads -= 1 } }
  var isRunning: Bool { state.withLock { $0.threads > 0 } }
  /// Goes on from `position` as far as this has come.
  /// - Parameter last: behind all containers.
  func advance(_ position: inout ScrubPosition, to last: UInt64) {
    state.withLock { state in
      let first = state.open.min() ?? state.next
      position.next = max(position.next, first < numbers.count ? numbers[first].value : last)
      position.again = (state.again.filter { $0 < first } + (first..<numbers.count)).map { numbers[$0].value }.filter { $0 < position.next }
      position.read += state.settled
    }
  }
}
