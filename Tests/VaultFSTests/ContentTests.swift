// Bytes of files: written, cut, punched, shifted, cloned; always what a plain array of bytes would be.

import Glibc
import Testing
@testable import VaultFS

struct ContentTests {
  @Test func `holes read as zeros and cost nothing`() throws {
    try Home.run { home in
      let vault = home.vault
      let file = try vault.make("f").inode
      try vault.put([1, 2, 3], at: 10_000_000, in: file)
      let info = try vault.info(file)
      #expect(info.size == 10_000_003 && info.allocated == 3)
      let bytes = try vault.contents(of: file)
      #expect(bytes.count == 10_000_003 && bytes[..<10_000_000].allSatisfy { $0 == 0 } && Array(bytes[10_000_000...]) == [1, 2, 3])
      try vault.put([UInt8](repeating: 0, count: 1 << 20), at: 1 << 20, in: file)
      #expect(try vault.info(file).allocated == 3, "zeros that are written are holes too")
    }
  }

  @Test func `what a truncate cuts off comes back as zeros`() throws {
    try Home.run { home in
      let vault = home.vault
      var random = Random(seed: 3)
      let content = random.bytes(300_000), file = try vault.makeFile("f", content)
      for (cut, again) in [(100_001, 250_000), (1, 300_000), (0, 5), (5, 5)] {
        try vault.put(content, in: file)
        try vault.truncate(file, to: UInt64(cut), clearsPrivileges: false)
        #expect(try vault.contents(of: file) == Array(content[..<cut]))
        #expect(try vault.info(file).allocated <= UInt64(cut))
        try vault.truncate(file, to: UInt64(again), clearsPrivileges: false)
        #expect(try vault.contents(of: file) == content[..<cut] + [UInt8](repeating: 0, count: again - cut))
      }
      // The same while the bytes are still unsaved.
      let other = try vault.make("g").inode
      try vault.withOpen(other) { open in
        try vault.write(content, to: open)
        try vault.truncate(other, to: 10, clearsPrivileges: false)
        try vault.write([9], to: open, at: 20)
        #expect(try vault.read(open, count: 100) == content[..<10] + [UInt8](repeating: 0, count: 10) + [9])
      }
      refused(.isADirectory) { try vault.truncate(.root, to: 0, clearsPrivileges: false) }
      refused(.fileTooLarge) { try vault.truncate(file, to: 1 << 63, clearsPrivileges: false) }
    }
  }

  @Test func `a file of 1 TiB holds what is written at its ends and in between`() throws {
    try Home.run { home in
      let size: UInt64 = 1 << 40, file = try home.vault.make("huge").inode
      try home.vault.truncate(file, to: size, clearsPrivileges: false)
      let places: [UInt64] = [0, 1 << 20, 1 << 32, (1 << 39) - 3, size - 5]
      try home.vault.withOpen(file) { open in for place in places { try home.vault.write([UInt8]("piece"), to: open, at: place) } }
      try home.reopen()
      #expect(try home.vault.info(file).size == size)
      try home.vault.withOpen(file) { open in
        for place in places { #expect(try home.vault.read(open, at: place, count: 5) == [UInt8]("piece")) }
        #expect(try home.vault.read(open, at: 1 << 38, count: 3) == [0, 0, 0])
        #expect(try home.vault.read(open, at: size - 2, count: 100).count == 2)
        #expect(try home.vault.read(open, at: size, count: 100).isEmpty)
        #expect(try home.vault.seek(open, from: 1 << 33, to: .data) == (1 << 39) - 4096)
        #expect(try home.vault.seek(open, from: (1 << 39), to: .hole) == (1 << 39) + 4096)
        // Shifts of everything behind, far out.
        try home.vault.allocate(open, offset: 1 << 35, length: 1 << 30, .collapse, clearsPrivileges: false)
        #expect(try home.vault.read(open, at: (1 << 39) - 3 - (1 << 30), count: 5) == [UInt8]("piece"))
        try home.vault.allocate(open, offset: 1 << 35, length: 1 << 30, .insert, clearsPrivileges: false)
        #expect(try home.vault.read(open, at: (1 << 39) - 3, count: 5) == [UInt8]("piece"))
      }
      #expect(try home.vault.info(file).allocated == 25)
      refused(.fileTooLarge) { try home.vault.put([1, 2], at: UInt64(Int64.max) - 1, in: file) }
      try home.vault.put([7], at: UInt64(Int64.max) - 1, in: file)
      #expect(try home.vault.info(file).size == UInt64(Int64.max))
      try home.vault.truncate(file, to: 0, clearsPrivileges: false)
      #expect(try home.vault.info(file).allocated == 0)
    }
  }

  @Test func `what is reserved far out is not pushed beyond the largest file`() throws {
    try Home.run { home in
      let vault = home.vault, file = try vault.makeFile("f", [UInt8](repeating: 1, count: 10_000))
      try vault.withOpen(file) { open in
        let last = Limits.fileBytesMax
        try vault.allocate(open, offset: last - 4096, length: 4096, .reserve(keepSize: true), clearsPrivileges: false)
        let before = vault.status().operations
        refused(.fileTooLarge) { try vault.allocate(open, offset: 0, length: 4096, .insert, clearsPrivileges: false) }
        #expect(vault.status().operations == before && vault.status().readOnlyReason == nil)
        try vault.allocate(open, offset: last - 4096, length: 4096, .punchHole, clearsPrivileges: false)
        try vault.allocate(open, offset: 0, length: 4096, .insert, clearsPrivileges: false)
      }
      #expect(try vault.contents(of: file) == [UInt8](repeating: 0, count: 4096) + [UInt8](repeating: 1, count: 10_000))
    }
  }

  @Test func `reserved ranges that clones multiply beyond every number are counted right again`() throws {
    try Home.run { home in
      let vault = home.vault, names = ["a", "b", "c", "d"]
      for name in names {
        let file = try vault.make(name).inode
        try vault.withOpen(file) { open in
          try vault.allocate(open, offset: 0, length: 1 << 24, .reserve(keepSize: false), clearsPrivileges: false)
          for bit in 24..<62 { _ = try vault.clone(from: open, at: 0, to: open, at: 1 << UInt64(bit), length: 1 << UInt64(bit), clearsPrivileges: false) }
        }
        #expect(try vault.info(file).allocated == 1 << 62)
      }
      for name in names { try vault.unlink([UInt8](name), in: .root) }
      #expect(vault.status().counters.logicalBytes == 0 && vault.status().readOnlyReason == nil)
    }
  }

  @Test func `reserving a range with many gaps is one operation`() throws {
    try Home.run { home in
      let vault = home.vault, file = try vault.make("f").inode
      try vault.withOpen(file) { open in
        for index in 0..<300 { try vault.write([5], to: open, at: UInt64(index * 10_000)) }
        try vault.save(open)
        let before = vault.status().operations, size = try vault.info(file).size
        try vault.allocate(open, offset: 5000, length: 4_000_000, .reserve(keepSize: true), clearsPrivileges: false)
        #expect(vault.status().operations == before + 1)
        #expect(try vault.info(file).size == size && vault.info(file).allocated == 4_000_001)
        let content = try vault.contents(of: file)
        #expect(content.count { $0 == 5 } == 300 && content.count { $0 == 0 } == content.count - 300)
        try vault.allocate(open, offset: 0, length: 5_000_000, .reserve(keepSize: false), clearsPrivileges: false)
        #expect(try vault.info(file).size == 5_000_000)
      }
      let before = try tree(of: vault)
      let copy = try home.copy()
      #expect(try opening(copy) { try tree(of: $0) } == before)
    }
  }

  @Test func `seeking finds data and holes`() throws {
    try Home.run { home in
      let vault = home.vault
      var random = Random(seed: 6)
      let file = try vault.make("f").inode
      try vault.withOpen(file) { open in
        refused(.noDataThere) { _ = try vault.seek(open, from: 0, to: .data) }
        refused(.noDataThere) { _ = try vault.seek(open, from: 0, to: .hole) }
        try vault.write(random.bytes(1000), to: open, at: 100_000)
        try vault.write(random.bytes(1000), to: open, at: 300_000)
        try vault.truncate(file, to: 400_000, clearsPrivileges: false)
        try vault.allocate(open, offset: 350_000, length: 1000, .reserve(keepSize: true), clearsPrivileges: false)
        func data(_ at: UInt64) throws -> UInt64 { try vault.seek(open, from: at, to: .data) }
        func hole(_ at: UInt64) throws -> UInt64 { try vault.seek(open, from: at, to: .hole) }
        // In blocks of 4 KiB: 98,304 to 102,400, and 299,008 to 303,104.
        #expect(try (data(0), data(98_304), data(100_999), data(102_400), data(300_500)) == (98_304, 98_304, 100_999, 299_008, 300_500))
        #expect(try (hole(0), hole(98_304), hole(102_399), hole(200_000), hole(300_001)) == (0, 102_400, 102_400, 200_000, 303_104))
        #expect(try hole(350_500) == 350_500, "what is reserved reads as zeros: a hole")
        refused(.noDataThere) { _ = try data(303_104) }
        refused(.noDataThere) { _ = try data(400_000) }
        refused(.noDataThere) { _ = try hole(400_000) }
        // Data to the very end: the hole is the end.
        try vault.write([1], to: open, at: 399_999)
        #expect(try hole(399_999) == 400_000)
        // Unsaved bytes are data.
        try vault.write([1], to: open, at: 500_000)
        #expect(try data(450_000) == 499_712)
      }
    }
  }

  @Test func `seeking walks a file of thousands of pieces`() throws {
    try Home.run { home in
      let vault = home.vault
      let file = try vault.make("f").inode
      try vault.withOpen(file) { open in
        for index in 0..<3000 { try vault.write([1, 2, 3], to: open, at: UInt64(index) * 65_536) }
        var at: UInt64 = 0, found = 0
        while let data = try? vault.seek(open, from: at, to: .data) {
          let hole = try vault.seek(open, from: data, to: .hole)
          #expect(hole == min(data + 4096, 2999 * 65_536 + 3))
          at = hole
          found += 1
        }
        #expect(found == 3000)
      }
    }
  }

  /// lseek(2): what SEEK_HOLE and SEEK_DATA step over holds all that is not zero, and data is found where there is some.
  @Test(arguments: seeds(16))
  func `a walk over data and holes meets every byte that is not zero`(seed: UInt64) throws {
    try Home.run { home in
      let vault = home.vault
      var random = Random(seed: seed)
      let size = 4_000_000, file = try vault.make("f").inode
      var model = [UInt8](repeating: 0, count: size)
      try vault.withOpen(file) { open in
        try vault.truncate(file, to: UInt64(size), clearsPrivileges: false)
        for _ in 0..<200 {
          let at = random.below(size - 3000), bytes = random.bytes(1 + random.below(3000))
          try vault.write(bytes, to: open, at: UInt64(at))
          model.replaceSubrange(at..<at + bytes.count, with: bytes)
          if random.chance(20) {
            let punched = random.below(size - 9000)
            try vault.allocate(open, offset: UInt64(punched), length: 9000, .punchHole, clearsPrivileges: false)
            for index in punched..<punched + 9000 { model[index] = 0 }
          }
        }
        var at: UInt64 = 0, seen = [Bool](repeating: false, count: size), data = 0
        while at < size, let start = try? vault.seek(open, from: at, to: .data) {
          let end = try vault.seek(open, from: start, to: .hole)
          try #require(start >= at && end > start && end <= size, "seed \(seed)")
          for index in Int(start)..<Int(end) { seen[index] = true }
          data += Int(end - start)
          at = end
        }
        #expect(zip(model, seen).allSatisfy { $0 == 0 || $1 }, "seed \(seed)")
        #expect(data < 200 * (3000 + 2 * 4096), "seed \(seed): and not simply everything")
      }
    }
  }

  @Test func `a clone shares every byte, and then goes its own way`() throws {
    try Home.run { home in
      let vault = home.vault
      var random = Random(seed: 8)
      let content = random.bytes(2_000_000)
      let source = try vault.makeFile("source", content), target = try vault.make("target").inode
      let stored = vault.status()
      try vault.withOpen(source) { from in
        try vault.withOpen(target) { to in
          #expect(try vault.clone(from: from, at: 0, to: to, at: 0, length: UInt64.max, clearsPrivileges: false) == 2_000_000)
          #expect(try vault.read(to, count: 3_000_000) == content)
          #expect(vault.status().counters.chunks == stored.counters.chunks)
          #expect(vault.status().counters.logicalBytes == 2 * stored.counters.logicalBytes)
          try vault.write([UInt8](repeating: 1, count: 1000), to: to, at: 777_777)
          #expect(try vault.read(from, count: 3_000_000) == content)
          // Part of it, elsewhere, not on any boundary; from what is not saved yet, too.
          try vault.write([UInt8]("fresh"), to: from, at: 5)
          #expect(try vault.clone(from: from, at: 3, to: to, at: 3_000_001, length: 123_457, clearsPrivileges: false) == 123_457)
          #expect(try vault.read(to, at: 3_000_001, count: 200_000) == content[3..<5] + [UInt8]("fresh") + content[10..<123_460])
          #expect(try vault.read(to, at: 2_500_000, count: 10) == [UInt8](repeating: 0, count: 10))
          #expect(try vault.clone(from: from, at: 2_000_000, to: to, at: 0, length: 10, clearsPrivileges: false) == 0, "nothing beyond the end")
          // Within one file, where the ranges do not meet.
          #expect(try vault.clone(from: to, at: 0, to: to, at: 4_000_000, length: 1000, clearsPrivileges: false) == 1000)
          refused(.invalidArgument) { _ = try vault.clone(from: to, at: 0, to: to, at: 999, length: 1000, clearsPrivileges: false) }
        }
      }
    }
  }

  /// Every way to change a file's bytes, against an array.
  @Test(arguments: seeds(16))
  func `any work on a file is what it would be on an array of bytes`(seed: UInt64) throws {
    try Home.run { home in
      var random = Random(seed: seed)
      let limit = 600_000
      let files = [try home.vault.make("a").inode, try home.vault.make("b").inode]
      var models: [[UInt8]] = [[], []]
      func open(_ index: Int) throws -> OpenFile { try home.vault.open(files[index]) }
      var open = try (open(0), open(1))
      func resize(_ which: Int, _ size: Int) {
        if models[which].count > size { models[which].removeLast(models[which].count - size) } else {
          models[which] += [UInt8](repeating: 0, count: size - models[which].count)
        }
      }
      for step in 0..<150 {
        let which = random.below(2), file = which == 0 ? open.0 : open.1, size = models[which].count
        let offset = random.below(limit), length = 1 + random.below(random.chance(20) ? limit / 2 : 9000)
        let range = min(offset, size)..<min(offset + length, size)
        switch random.below(12) {
        case 0, 1, 2, 3:
          let bytes = random.content(length)
          try home.vault.write(bytes, to: file, at: UInt64(offset))
          resize(which, max(size, offset + length))
          models[which].replaceSubrange(offset..<offset + length, with: bytes)
        case 4:
          try home.vault.truncate(files[which], to: UInt64(offset), clearsPrivileges: false)
          resize(which, offset)
        case 5:
          try home.vault.allocate(file, offset: UInt64(offset), length: UInt64(length), .punchHole, clearsPrivileges: false)
          for index in range { models[which][index] = 0 }
        case 6:
          let keeps = random.chance(50)
          try home.vault.allocate(file, offset: UInt64(offset), length: UInt64(length), .zero(keepSize: keeps), clearsPrivileges: false)
          for index in range { models[which][index] = 0 }
          if !keeps { resize(which, max(size, offset + length)) }
        case 7:
          let keeps = random.chance(50)
          try home.vault.allocate(file, offset: UInt64(offset), length: UInt64(length), .reserve(keepSize: keeps), clearsPrivileges: false)
          if !keeps { resize(which, max(size, offset + length)) }
        case 8:
          let start = offset / 4096 * 4096, count = (length / 4096 + 1) * 4096
          let fits = start + count < size
          if !fits { refused(.invalidArgument) { try home.vault.allocate(file, offset: UInt64(start), length: UInt64(count), .collapse, clearsPrivileges: false) } } else {
            try home.vault.allocate(file, offset: UInt64(start), length: UInt64(count), .collapse, clearsPrivileges: false)
            models[which].removeSubrange(start..<start + count)
          }
        case 9:
          let start = offset / 4096 * 4096, count = (length / 4096 + 1) * 4096
          if start >= size { refused(.invalidArgument) { try home.vault.allocate(file, offset: UInt64(start), length: UInt64(count), .insert, clearsPrivileges: false) } } else {
            try home.vault.allocate(file, offset: UInt64(start), length: UInt64(count), .insert, clearsPrivileges: false)
            models[which].insert(contentsOf: [UInt8](repeating: 0, count: count), at: start)
          }
        case 10:
          let from = random.below(2), source = from == 0 ? open.0 : open.1, at = random.below(limit)
          let count = max(0, min(length, models[from].count - at))
          if from == which, max(at, offset) < min(at, offset) + count { break }
          #expect(try home.vault.clone(from: source, at: UInt64(at), to: file, at: UInt64(offset), length: UInt64(length), clearsPrivileges: false) == UInt64(count))
          if count > 0 {
            let copied = Array(models[from][at..<at + count])
            resize(which, max(size, offset + count))
            models[which].replaceSubrange(offset..<offset + count, with: copied)
          }
        default:
          if random.chance(30) {
            home.vault.close(open.0)
            home.vault.close(open.1)
            if random.chance(50) { try home.reopen() }
            open = try (home.vault.open(files[0]), home.vault.open(files[1]))
          } else { try home.vault.sync(file) }
        }
        // A piece of it now, all of it now and then.
        let seen = which == 0 ? open.0 : open.1
        let window = random.below(limit)
        let got = try home.vault.read(seen, at: UInt64(window), count: 5000)
        #expect(got == Array(models[which].dropFirst(window).prefix(5000)), "seed \(seed), step \(step)")
        #expect(try home.vault.info(files[which]).size == UInt64(models[which].count), "seed \(seed), step \(step)")
        if step % 10 == 0 {
          for index in 0..<2 { #expect(try home.vault.contents(of: files[index]) == models[index], "seed \(seed), step \(step)") }
        }
      }
      home.vault.close(open.0)
      home.vault.close(open.1)
      try home.reopen()
      for index in 0..<2 { #expect(try home.vault.contents(of: files[index]) == models[index], "seed \(seed)") }
    }
  }

  @Test func `what is reserved counts as space, and no more once it is punched`() throws {
    try Home.run { home in
      let vault = home.vault
      let file = try vault.make("f").inode
      try vault.withOpen(file) { open in
        try vault.allocate(open, offset: 0, length: 1 << 20, .reserve(keepSize: true), clearsPrivileges: false)
        #expect(try vault.info(file).size == 0 && vault.info(file).allocated == 1 << 20)
        try vault.write([1], to: open, at: 500)
        try vault.save(open)
        #expect(try vault.info(file).allocated == 1 << 20, "written into what was reserved")
        try vault.allocate(open, offset: 0, length: 1 << 20, .punchHole, clearsPrivileges: false)
        #expect(try vault.info(file).allocated == 0 && vault.info(file).size == 501)
        refused(.invalidArgument) { try vault.allocate(open, offset: 0, length: 0, .punchHole, clearsPrivileges: false) }
        refused(.fileTooLarge) { try vault.allocate(open, offset: UInt64(Int64.max), length: 1, .zero(keepSize: false), clearsPrivileges: false) }
        refused(.invalidArgument) { try vault.allocate(open, offset: 1, length: 4096, .collapse, clearsPrivileges: false) }
        refused(.invalidArgument) { try vault.allocate(open, offset: 0, length: 4095, .insert, clearsPrivileges: false) }
      }
    }
  }
}
