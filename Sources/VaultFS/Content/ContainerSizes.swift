// What the containers take on disk, so that asking for the sum costs the same in a vault of any size.
//
// What must stay true: a container is either expected (to be looked at with the next question) or settled (in the sums,
// and it will not change). Guarded by the lock of the `ContainerStore`.

struct ContainerSizes {
  private(set) var packs: UInt64 = 0
  private(set) var journal: UInt64 = 0
  private(set) var expected: Set<ContainerNumber> = []
  private var growing: Set<ContainerNumber> = []
  private var settled: [ContainerNumber: UInt64] = [:]

  /// A container that was found or made.
  mutating func expect(_ number: ContainerNumber, growing isGrowing: Bool = false) {
    expected.insert(number)
    if isGrowing { growing.insert(number) }
  }
  /// It does not grow any more.
  mutating func end(_ number: ContainerNumber) { growing.remove(number) }
  func isGrowing(_ number: ContainerNumber) -> Bool { growing.contains(number) }

  mutating func settle(_ number: ContainerNumber, _ kind: ContainerStore.Kind, _ bytes: UInt64) {
    guard expected.remove(number) != nil else { return }
    settled[number] = bytes
    if kind == .pack { packs += bytes } else { journal += bytes }
  }

  /// It is gone.
  mutating func forget(_ number: ContainerNumber, _ kind: ContainerStore.Kind?) {
    expected.remove(number)
    growing.remove(number)
    guard let bytes = settled.removeValue(forKey: number) else { return }
    if kind == .pack { packs -= bytes } else { journal -= bytes }
  }
}
