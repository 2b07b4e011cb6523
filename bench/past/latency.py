"""Whether anybody notices that space is being given back."""
import collections
import os
import random
import statistics
import subprocess
import time

import data
import stage as s
from data import MIB
from past.collecting import allocated, check, fill, halve
from past.pairs import middle_and_range, write


class Foreground:
    """Somebody at work, at a pace that leaves the computer time; remembers how long each operation took."""

    def __init__(self, root, size, mixed):
        self.root, self.mixed, self.chance, self.number = root, mixed, random.Random(1), 0
        self.pool = [os.path.join(root, f"pool{i}") for i in range(size)]
        for path in self.pool:
            write(path, data.noise(path, 8 * MIB))
        self.blocks = [self.chance.randbytes(MIB - 8) for _ in range(4)]

    def cold(self):
        """4 KiB of a file of which the kernel has dropped the content: the vault reads and decodes a chunk."""
        handle = os.open(self.chance.choice(self.pool), os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(handle, 4096, self.chance.randrange(2048) * 4096)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)

    def warm(self):
        """4 KiB that the kernel has: only opening and closing come to the vault."""
        handle = os.open(self.small, os.O_RDONLY)
        os.pread(handle, 4096, 0)
        os.close(handle)

    def create(self):
        write(os.path.join(self.root, f"small{self.number}"), self.blocks[0][:1024])

    def megabyte(self):
        write(os.path.join(self.root, f"large{self.number}"), self.number.to_bytes(8) + self.blocks[self.number % 4])

    def slice(self, goes_on):
        """All operations in turn for as long as `goes_on`. Gives (p50, p99) by operation."""
        self.small = os.path.join(self.root, "warm")
        write(self.small, self.blocks[0][:4096])
        found = collections.defaultdict(list)
        work = [self.cold, self.warm] + [self.create, self.megabyte] * self.mixed
        while goes_on():
            for operation in work:
                start = time.perf_counter()
                operation()
                found[operation.__name__].append(time.perf_counter() - start)
            self.number += 1
            time.sleep(0.005)
        return {name: (statistics.median(values), statistics.quantiles(values, n=100)[98]) for name, values in found.items()}


def latency(bench):
    """Slices without and with space being given back, in turn. One with is compared with those before and after it."""
    count, batch, pause = bench.sizes["slices"], bench.sizes["batch"] * MIB, bench.sizes["pause"]
    for mixed, what in ((True, "reads and writes, during fsctl gc"), (False, "reads alone, while the vault collects by itself")):
        bench.title(f"Waiting while space is given back over waiting else: {what}")
        with bench.vault("latency") as vault:
            work, without, during, freed, spent = Foreground(vault.dir, bench.sizes["pool"] // 8, mixed), [], [], 0, []
            for number in range(count + 1):
                files = fill(vault.dir, f"batch{number} ", batch) if number < count else {}
                vault.settle_optimiser()
                end = time.monotonic() + pause
                without.append(work.slice(lambda: time.monotonic() < end))
                if number == count:
                    break
                before = allocated(vault.store)
                dead = halve(files, number)
                bench.fsctl("trash", "empty", vault.dir)
                start = time.monotonic()
                if mixed:
                    command = subprocess.Popen([bench.program, "gc", vault.dir], stdout=subprocess.DEVNULL)
                    goes_on = lambda: command.poll() is None
                else:
                    looked = [0.0, True]

                    def goes_on():
                        if time.monotonic() - looked[0] > 0.5:
                            looked[:] = time.monotonic(), before - allocated(vault.store) < 0.95 * dead and time.monotonic() < start + 120
                        return looked[1]
                during.append(work.slice(goes_on))
                spent.append(time.monotonic() - start)
                freed += before - allocated(vault.store)
                check(bench, vault, files)
            bench.note("  given back meanwhile", freed, s.human, shown=f"; {statistics.median(spent):.0f} s each")
            for name in without[0]:
                for index, part in enumerate(("p50", "p99")):
                    base = [w[name][index] for w in without]
                    ratio, shown = middle_and_range([d[name][index] * 2 / (a + b) for d, a, b in zip(during, base, base[1:])])
                    # How much two slices differ between which nothing is different.
                    noise = statistics.median(max(a, b) / min(a, b) for a, b in zip(base, base[1:]))
                    shown += f"; {statistics.median(base) * 1000:.2f} ms without, which varies by × {noise:.2f}"
                    bench.note(f"  {name}, {part}", ratio, "× {:.2f}".format, "≤ 1.10", 1.10, shown=shown)
            bench.facts[f"{what}: slices"] = {"without": without, "during": during}
