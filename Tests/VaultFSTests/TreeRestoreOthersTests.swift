// Taking back a whole tree in place while others are at work in it, or near.

import Glibc
import Synchronization
import Testing
@testable import VaultFS

struct TreeRestoreOthersTests {
  @Test func `a tree in which others are at work is what it was, as a whole, when they pause`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), inner = try vault.makeDirectory("i", in: tree)
      for index in 0..<20 { try vault.makeFile("\(index)", in: index % 2 == 0 ? tree : inner, [UInt8(index)]) }
      try vault.syncAll()
      let then = LSN(try vault.makeSnapshot([UInt8]("then")).moment), before = try presentTree(of: vault)
      let isDone = Atomic(false)
      let others = startThread("others") {
        var random = Random(seed: 7)
        while !isDone.load(ordering: .relaxed) {
          let directory = random.below(2) == 0 ? tree : inner, name = [UInt8]("\(random.below(24))"), other = [UInt8]("\(random.below(24))")
          switch random.below(6) {
          case 0: try? vault.unlink(name, in: directory)
          case 1: _ = try? vault.create(name, in: directory, mode: S_IFREG | 0o644, by: root)
          case 2: try? vault.rename(name, in: directory, to: other, in: inner, mode: .replace)
          case 3: if let found = try? vault.lookup(name, in: directory) { try? vault.put([9], at: 0, in: found.inode) }
          case 4: if let found = try? vault.lookup(name, in: directory) { _ = try? vault.link(found.inode, as: other, in: tree) }
          default: usleep(2000)
          }
        }
      }
      for _ in 0..<60 { do { _ = try vault.restoreTree(tree, at: then) } catch VaultError.notFound {} }
      isDone.store(true, ordering: .relaxed)
      pthread_join(others, nil)
      try vault.restoreTree(tree, at: then)
      let after = try presentTree(of: vault)
      #expect(Set(after.keys) == Set(before.keys))
      for path in before.keys { #expect(after[path]?.content == before[path]?.content && after[path]?.mode == before[path]?.mode, "\(String(decoding: path, as: UTF8.self))") }
      try home.reopen()
      #expect(try presentTree(of: home.vault).keys.sorted { $0.lexicographicallyPrecedes($1) } == after.keys.sorted { $0.lexicographicallyPrecedes($1) })
    }
  }

  @Test func `a tree whose taking back is ended before it is done is what it was`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t")
      try vault.keepEverything()
      for index in 0..<600 { try vault.makeFile("\(index)", in: tree, []) }
      let then = vault.present
      for index in 0..<600 { try vault.unlink([UInt8]("\(index)"), in: tree) }
      try vault.makeFile("new", in: tree, [1])
      let before = try presentTree(of: vault), trash = try vault.trash()
      // While it is compared; while it is put together.
      for end in ["compared", "made"] {
        var options = RestoreOptions()
        options.progress = { [cancellation = options.cancellation] progress in
          switch progress {
          case .waiting: break
          case .compared: if end == "compared" { cancellation.cancel() }
          case .made: if end == "made" { cancellation.cancel() }
          }
        }
        refused(.interrupted, end) { _ = try vault.restoreTree(tree, at: then, options) }
        #expect(try presentTree(of: vault).mapValues(\.content) == before.mapValues(\.content) && vault.trash() == trash, "\(end)")
        options.cancellation = Cancellation()
        options.cancellation.cancel()
        refused(.interrupted, end) {
          var restored = Restored()
          try vault.revive(tree, at: then, as: [UInt8]("copy"), in: .root, &restored, options)
        }
        #expect(try presentTree(of: vault).mapValues(\.content) == before.mapValues(\.content) && vault.trash() == trash, "\(end)")
      }
      #expect(try vault.restoreTree(tree, at: then).nodes == 601)
      try home.reopen()
    }
  }

  @Test func `what became another's meanwhile is not replaced`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), keep = try vault.makeFile("keep", in: tree, [1])
      try vault.keepEverything()
      for index in 0..<600 { try vault.makeFile("\(index)", in: tree, []) }
      for inode in try [tree] + vault.entries(of: tree).map(\.inode) { try vault.own(inode, user: 7) }
      let then = vault.present
      for index in 0..<600 { try vault.unlink([UInt8]("\(index)"), in: tree) }
      func options(_ meanwhile: @escaping @Sendable () throws -> Void) -> RestoreOptions {
        let isDone = Atomic(false)
        var options = RestoreOptions()
        options.mayReplace = { node, _ in node.user == 7 }
        options.progress = { progress in
          guard case .made = progress, !isDone.exchange(true, ordering: .relaxed) else { return }
          do { try meanwhile() } catch { Issue.record(error) }
        }
        return options
      }
      // What was there becomes root's; root puts something into it.
      let changes: [@Sendable () throws -> Void] = [{ try vault.own(keep, user: 0) }, { _ = try vault.makeFile("mine", in: vault.makeDirectory("new", in: tree), [2]) }]
      for change in changes {
        refused(.notPermitted) { try vault.restoreTree(tree, at: then, options(change)) }
        #expect(try vault.find("0", in: tree) == nil && vault.contents(of: keep) == [1])
        try vault.own(keep, user: 7)
      }
      #expect(try vault.find("new", in: tree) != nil)
      try vault.removeTree([UInt8]("new"), in: tree)
      #expect(try vault.restoreTree(tree, at: then, options {}).nodes == 602)
      // A file.
      let first = vault.present
      try vault.put([3], in: keep)
      try vault.own(keep, user: 0)
      refused(.notPermitted) { try vault.restore(keep, from: keep, at: first, options {}) }
      // Its content alone: its owner and mode are those of now.
      var content = RestoreOptions()
      content.isContentOnly = true
      try vault.restore(keep, from: keep, at: first, content)
      #expect(try vault.contents(of: keep) == [1] && vault.info(keep).user == 0)
    }
  }

  @Test func `whoever waits until another tree is back can be called off`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), other = try vault.makeDirectory("o")
      try vault.keepEverything()
      for directory in [tree, other] { try vault.makeFile("f", in: directory, [1]) }
      let then = vault.present
      for directory in [tree, other] { try vault.unlink([UInt8]("f"), in: directory) }
      let hasBegun = Atomic(false), mayEnd = Atomic(false)
      let first = try #require(startThread("first") {
        var options = RestoreOptions()
        options.progress = { progress in
          if case .made = progress {} else if case .compared = progress {} else { return }
          hasBegun.store(true, ordering: .relaxed)
          while !mayEnd.load(ordering: .relaxed) { usleep(1000) }
        }
        _ = try? vault.restoreTree(tree, at: then, options)
      })
      while !hasBegun.load(ordering: .relaxed) { usleep(1000) }
      var options = RestoreOptions()
      options.progress = { [cancellation = options.cancellation] progress in if case .waiting = progress { cancellation.cancel() } }
      refused(.interrupted) { _ = try vault.restoreTree(other, at: then, options) }
      #expect(try vault.find("f", in: other) == nil && vault.find("f", in: tree) == nil)
      mayEnd.store(true, ordering: .relaxed)
      pthread_join(first, nil)
      #expect(try vault.find("f", in: tree) != nil)
      try vault.inTurn(RestoreOptions()) { options in _ = try vault.restoreTree(other, at: then, options) }
      #expect(try vault.find("f", in: other) != nil)
    }
  }

  @Test func `a tree that others take away while it is taken back leaves nothing that cannot be done again`() throws {
    try Home.run { home in
      let vault = home.vault, place = try vault.makeDirectory("place")
      let tree = try vault.makeDirectory("tree", in: place)
      for index in 0..<30 { try vault.makeFile("\(index)", in: tree, [1]) }
      let then = LSN(try vault.makeSnapshot([UInt8]("then")).moment)
      let isDone = Atomic(false)
      let others = startThread("others") {
        while !isDone.load(ordering: .relaxed) {
          for name in (try? vault.names(in: tree)) ?? [] where name.starts(with: [UInt8](".vaultfs-restoring-")) { try? vault.removeTree(name, in: tree) }
        }
      }
      for _ in 0..<300 { do { _ = try vault.restoreTree(tree, at: then) } catch VaultError.notFound {} catch VaultError.staleNode {} }
      isDone.store(true, ordering: .relaxed)
      pthread_join(others, nil)
      #expect(vault.lock.withLock { vault.failure } == nil)
      try home.reopen()
      #expect(try home.vault.restoreTree(tree, at: then).nodes == 31)
    }
  }

  @Test func `what others make while a tree is made anew is there, or in the trash`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t")
      var directories: [InodeNumber] = []
      for index in 0..<6 {
        directories.append(try vault.makeDirectory("d\(index)", in: tree))
        for file in 0..<1000 { try vault.makeFile("\(file)", in: directories[index], [1]) }
      }
      let then = LSN(try vault.makeSnapshot([UInt8]("then")).moment), places = directories
      for directory in directories { for file in 0..<1000 { try vault.put([2], at: 1, in: try #require(try vault.find("\(file)", in: directory)).inode) } }
      let isDone = Atomic(false), made = Mutex<Set<[UInt8]>>([])
      let others = startThread("others") {
        var number = 0
        while !isDone.load(ordering: .relaxed) {
          number += 1
          let name = [UInt8]("new \(number)")
          if (try? vault.create(name, in: places[number % places.count], mode: S_IFREG | 0o644, by: root)) != nil { made.withLock { _ = $0.insert(name) } }
          usleep(300)
        }
      }
      try vault.restoreTree(tree, at: then)
      isDone.store(true, ordering: .relaxed)
      pthread_join(others, nil)
      let there = try presentTree(of: vault).keys.compactMap { $0.split(separator: UInt8(ascii: "/")).last.map(Array.init) }, trash = try vault.trash().map(\.name)
      let lost = made.withLock { $0 }.subtracting(there).subtracting(trash)
      #expect(made.withLock { $0.count } > 10 && lost.isEmpty, "\(lost.count) of \(made.withLock { $0.count })")
    }
  }

  @Test func `nobody is refused for what is put together, nor for what gave way`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t")
      for index in 0..<4000 { try vault.own(try vault.makeFile("\(index)", in: tree, [1]), user: 5) }
      let then = LSN(try vault.makeSnapshot([UInt8]("then")).moment)
      try vault.removeTree([UInt8]("t"), in: .root)
      let again = try vault.makeDirectory("t")
      for index in 0..<4000 { try vault.own(try vault.makeFile("\(index)", in: again, [1]), user: 5) }
      let used = try vault.usage(ofUser: 5)
      try vault.setQuota(.nodes(used.nodes + 2), for: .user(5))
      let isDone = Atomic(false), refusals = Atomic(0), tries = Atomic(0), most = Atomic(0)
      let others = startThread("others") {
        while !isDone.load(ordering: .relaxed) {
          tries.add(1, ordering: .relaxed)
          do {
            for name in ["a", "b"] { _ = try vault.create([UInt8](name), in: .root, mode: S_IFREG | 0o644, by: Requester(user: 5, group: 5, umask: 0)) }
            // The limit is one all the same.
            if (try? vault.create([UInt8]("c"), in: .root, mode: S_IFREG | 0o644, by: Requester(user: 5, group: 5, umask: 0))) != nil { most.add(1, ordering: .relaxed) }
          } catch { refusals.add(1, ordering: .relaxed) }
          for name in ["a", "b", "c"] { try? vault.unlink([UInt8](name), in: .root) }
        }
      }
      try vault.restoreTree(again, from: tree, at: then)
      isDone.store(true, ordering: .relaxed)
      pthread_join(others, nil)
      #expect(tries.load(ordering: .relaxed) > 20 && refusals.load(ordering: .relaxed) == 0 && most.load(ordering: .relaxed) == 0, "\(refusals.load(ordering: .relaxed)) and \(most.load(ordering: .relaxed)) of \(tries.load(ordering: .relaxed))")
      #expect(try vault.usage(ofUser: 5) == used && vault.lock.withLock { vault.stagedUsage.isEmpty })
    }
  }

  @Test func `many that have its files open go on with them`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t")
      var files: [InodeNumber] = []
      for index in 0..<700 { files.append(try vault.makeFile("\(index)", in: tree, [1])) }
      let then = LSN(try vault.makeSnapshot([UInt8]("then")).moment), open = try files.map { try vault.open($0) }
      for file in open { try vault.write([2, 2], to: file, at: 0) }
      try vault.restoreTree(tree, at: then)
      #expect(try Set(vault.allEntries(of: tree).map(\.inode)) == Set(files))
      for file in files { #expect(try vault.contents(of: file) == [1]) }
      for file in open { vault.close(file) }
    }
  }
}
