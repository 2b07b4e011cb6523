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

  /// Of few files, what has changed is taken back; of many, all is made anew.
  @Test(arguments: [600, 5300]) func `what became another's meanwhile is not replaced`(_ count: Int) throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), keep = try vault.makeFile("keep", in: tree, [1])
      try vault.keepEverything()
      for index in 0..<count { try vault.makeFile("\(index)", in: tree, []) }
      for inode in try [tree] + vault.entries(of: tree).map(\.inode) { try vault.own(inode, user: 7) }
      let then = vault.present
      for index in 0..<count { try vault.unlink([UInt8]("\(index)"), in: tree) }
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
      // What was there becomes root's; root puts something into it; something comes into it in which root has something.
      let elsewhere = try vault.makeDirectory("elsewhere"), inner = try vault.makeDirectory("inner", in: elsewhere)
      for directory in [elsewhere, inner] { try vault.own(directory, user: 7) }
      try vault.makeFile("theirs", in: inner, [2])
      let changes: [@Sendable () throws -> Void] = [
        { try vault.own(keep, user: 0) }, { _ = try vault.makeFile("mine", in: vault.makeDirectory("new", in: tree), [2]) }, { _ = try vault.makeDirectory("new", in: tree) },
        { _ = try vault.create([UInt8]("new"), in: tree, mode: S_IFIFO | 0o644, by: root) },
        { try vault.rename([UInt8]("elsewhere"), in: .root, to: [UInt8]("new"), in: tree, mode: .noReplace) },
      ]
      for (index, change) in changes.enumerated() {
        refused(.notPermitted, "\(index)") { try vault.restoreTree(tree, at: then, options(change)) }
        #expect(try vault.find("0", in: tree) == nil && vault.contents(of: keep) == [1])
        try vault.own(keep, user: 7)
        guard let new = try vault.find("new", in: tree) else { continue }
        #expect(index > 0)
        if new.inode == elsewhere { break }
        if new.mode & S_IFMT == S_IFDIR { try vault.removeTree([UInt8]("new"), in: tree) } else { try vault.unlink([UInt8]("new"), in: tree) }
      }
      #expect(try vault.find("theirs", in: inner) != nil)
      // It is theirs by now.
      try vault.own(try #require(try vault.find("theirs", in: inner)).inode, user: 7)
      try vault.rename([UInt8]("new"), in: tree, to: [UInt8]("elsewhere"), in: .root, mode: .noReplace)
      #expect(try vault.restoreTree(tree, at: then, options(changes[4])).nodes == UInt64(count) + 2)
      for index in 0..<count { try vault.unlink([UInt8]("\(index)"), in: tree) }
      #expect(try vault.restoreTree(tree, at: then, options {}).nodes == UInt64(count) + 2)
      // A file.
      let first = vault.present, file = try #require(try vault.find("keep", in: tree)).inode
      try vault.put([3], in: file)
      try vault.own(file, user: 0)
      refused(.notPermitted) { try vault.restore(file, from: file, at: first, options {}) }
      // Its content alone: its owner and mode are those of now.
      var content = RestoreOptions()
      content.isContentOnly = true
      try vault.restore(file, from: file, at: first, content)
      #expect(try vault.contents(of: file) == [1] && vault.info(file).user == 0)
    }
  }

  @Test func `what was asked for while it was outside is asked for again when it comes`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), inner = try vault.makeDirectory("x", in: tree), elsewhere = try vault.makeDirectory("elsewhere")
      for inode in [tree, inner, elsewhere] { try vault.own(inode, user: 7) }
      var options = RestoreOptions()
      options.mayReplace = { node, _ in node.user == 7 }
      func meanwhile(_ body: (Watch) throws -> Void) throws {
        let watch = Watch()
        vault.lock.withLock { vault.metadata.watches.append(watch) }
        defer { vault.lock.withLock { vault.metadata.watches.removeAll { $0 === watch } } }
        try vault.askAll(below: tree, options)
        try body(watch)
        // It came when nobody looked; then it is looked at.
        #expect(try !vault.lock.withLock { () throws(VaultError) in try vault.askLast(watch, below: tree, options) })
        refused(.notPermitted) { try vault.askSeen(watch, below: tree, options) }
      }
      // In a directory made meanwhile, that moves with it.
      try vault.makeFile("theirs", in: elsewhere, [1])
      try meanwhile { watch in
        try vault.own(try vault.makeDirectory("new"), user: 7)
        try vault.rename([UInt8]("elsewhere"), in: .root, to: [UInt8]("elsewhere"), in: try #require(try vault.find("new")).inode, mode: .noReplace)
        try vault.askSeen(watch, below: tree, options)
        try vault.rename([UInt8]("new"), in: .root, to: [UInt8]("new"), in: tree, mode: .noReplace)
      }
      try vault.rename([UInt8]("new"), in: tree, to: [UInt8]("new"), in: .root, mode: .noReplace)
      // Made in a directory of the tree while that is out.
      try meanwhile { watch in
        try vault.rename([UInt8]("x"), in: tree, to: [UInt8]("x"), in: .root, mode: .noReplace)
        let sub = try vault.makeDirectory("sub", in: inner)
        try vault.makeFile("theirs", in: sub, [1])
        try vault.own(sub, user: 7)
        try vault.askSeen(watch, below: tree, options)
        try vault.rename([UInt8]("x"), in: .root, to: [UInt8]("x"), in: tree, mode: .noReplace)
      }
    }
  }

  @Test func `where something goes of what came, the rest of that is asked for all the same`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), came = try vault.makeDirectory("came")
      try vault.keepEverything()
      // (So many that what is put together is told of.)
      for index in 0..<600 { try vault.own(try vault.makeFile("\(index)", in: tree, []), user: 7) }
      for name in ["a", "b"] { try vault.makeDirectory(name, in: came) }
      let last = try vault.makeFile("last", in: came, [1])
      // The walk takes the directories that it finds from the end.
      let directories = try vault.allEntries(of: came).filter { $0.type == S_IFDIR }, goes = directories[1].name, stays = directories[0].inode
      for inode in [tree, came, last] + directories.map(\.inode) { try vault.own(inode, user: 7) }
      let theirs = try vault.makeFile("theirs", in: stays, [2]), then = vault.present
      for index in 0..<600 { try vault.unlink([UInt8]("\(index)"), in: tree) }

      let isAsking = Atomic(false), isGone = Atomic(false)
      let others = try #require(startThread("others") {
        while !isAsking.load(ordering: .relaxed) { usleep(100) }
        try? vault.removeDirectory(goes, in: came)
        isGone.store(true, ordering: .relaxed)
      })
      var options = RestoreOptions()
      options.mayReplace = { node, _ in
        // The others wait for the lock, and have it before the walk goes on.
        if node.inode == last, !isAsking.exchange(true, ordering: .relaxed) { usleep(50_000) }
        return node.user == 7
      }
      options.progress = { progress in
        guard case .made = progress, !isGone.load(ordering: .relaxed) else { return }
        try? vault.rename([UInt8]("came"), in: .root, to: [UInt8]("came"), in: tree, mode: .noReplace)
      }
      refused(.notPermitted) { try vault.restoreTree(tree, at: then, options) }
      isAsking.store(true, ordering: .relaxed)
      pthread_join(others, nil)
      #expect(try vault.find("came", in: tree)?.inode == came && vault.find("0", in: tree) == nil && isGone.load(ordering: .relaxed))
      #expect(try vault.find(String(decoding: goes, as: UTF8.self), in: came) == nil && vault.contents(of: theirs) == [2])
    }
  }

  @Test func `what may not come back does not, and leaves nothing`() throws {
    try Home.run { home in
      let vault = home.vault, tree = try vault.makeDirectory("t"), inner = try vault.makeDirectory("i", in: tree)
      try vault.keepEverything()
      let mine = try vault.makeFile("mine", in: inner, [1]), theirs = try vault.makeFile("theirs", in: inner, [1])
      for inode in [tree, inner, mine] { try vault.own(inode, user: 7) }
      let then = vault.present
      var options = RestoreOptions()
      options.mayReturn = { was, _, _ in was.user == 7 }
      var restored = Restored()
      refused(.notPermitted) { try vault.revive(tree, at: then, as: [UInt8]("copy"), in: .root, &restored, options) }
      refused(.notPermitted) { try vault.revive(theirs, at: then, as: [UInt8]("copy"), in: .root, &restored, options) }
      #expect(try vault.names(in: .root) == [[UInt8]("t")])
      // In place: of what changes, and what is missing.
      try vault.put([2, 2], in: theirs)
      refused(.notPermitted) { try vault.restoreTree(tree, at: then, options) }
      refused(.notPermitted) { try vault.restore(theirs, from: theirs, at: then, options) }
      try vault.unlink([UInt8]("theirs"), in: inner)
      for isDry in [true, false] {
        options.plan = isDry ? RestorePlan() : nil
        refused(.notPermitted, "\(isDry)") { try vault.restoreTree(tree, at: then, options) }
      }
      #expect(try vault.entries(of: tree).map(\.name) == [[UInt8]("i")] && vault.entries(of: inner).map(\.name) == [[UInt8]("mine")])
      options.mayReturn = { _, isRoots, _ in !isRoots }
      #expect(try vault.restoreTree(tree, at: then, options).nodes == 4)
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
      // Whoever only asks does not wait.
      let plan = RestorePlan()
      options.plan = plan
      options.cancellation = Cancellation()
      try vault.restoreTree(other, at: then, options)
      #expect(plan.changes.map(\.path) == [[UInt8]("f")])
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
