"""What is asked of the past and of limits by name: lists of versions, a version back in place, a limit's use."""
import os
import random
import statistics
import time

import data
import stage as s
from data import MIB
from past import owner
from past.pairs import read, write
from workloads import same


milliseconds = lambda value: f"{value * 1000:.1f} ms"


def versions(bench):
    """Each write is a version here (`--window 0s`), else ten thousand of them would take a day."""
    count = bench.sizes["versions"]
    bench.title(f"fsctl versions list, in a vault with {2 * count:,} versions")
    with bench.vault("versions", "--window", "0s") as vault:
        path = lambda name: os.path.join(vault.dir, name)
        write(path("one"), b"once")
        for number in range(count):
            write(path("all"), b"%d" % number, os.O_CREAT)
            write(path(f"other{number % 100}"), b"%d" % number, os.O_CREAT)
        bench.sync(vault)
        vault.settle()
        for name, wanted in (("one", 1), ("other0", count // 100), ("all", count)):
            found = bench.json("versions", "list", path(name))
            # The empty file that was created, and the one that something was written to, are two.
            if not wanted <= len(found) <= wanted + 1:
                raise s.Failure(f"{name} has {len(found)} versions, not {wanted}")
            bench.command(f"  of a file with {len(found):,} of them", ("versions", "list", path(name)), 0.010, vault=vault,
                          request=("versions", dict(path=owner.path(name))))
        for version in random.Random(1).sample(found[:-1], 20):
            wanted = b"%d" % (count - 1 - found.index(version))
            same(wanted, bench.fsctl("versions", "cat", path("all"), version["id"]).encode(), f"version {version['id']}")


def digest_written(path, seed, size):
    """Writes noise in order, and gives its digest."""
    content = data.noise(seed, size)
    write(path, content[:1], os.O_CREAT)
    with open(path, "r+b", buffering=0) as file:
        for at in range(0, size, MIB):
            file.write(memoryview(content)[at:at + MIB])
    return data.digest(path)


def restore(bench):
    """A file's versions: noise, other noise over all of it, thousands of blocks here and there, nothing at all."""
    size = bench.sizes["restore"] * MIB
    bench.title(f"fsctl versions restore, of a file of {s.human(size)}")
    with bench.vault("restore", "--window", "0s") as vault:
        path, chance, known = os.path.join(vault.dir, "file"), random.Random(1), {}

        def remember(what, digest):
            bench.sync(vault)
            known[bench.json("versions", "list", path)[0]["id"]] = (what, digest)

        remember("written once", digest_written(path, "first", size))
        remember("written over", digest_written(path, "second", size))
        handle = os.open(path, os.O_WRONLY)
        for _ in range(bench.sizes["spots"]):
            os.pwrite(handle, chance.randbytes(4096), chance.randrange(size // 4096) * 4096)
        os.close(handle)
        remember(f"with {bench.sizes['spots']:,} blocks changed", data.digest(path))
        os.truncate(path, 0)
        remember("empty", data.digest(path))
        vault.settle()
        # What the kernel has of the file's content it must let go of, page after page: that is shown apart.
        found = {(what, state): [] for what, _ in known.values() for state in ("nothing of it cached", "all of it cached")}
        for state in ("nothing of it cached", "all of it cached") * 2:
            for version, (what, digest) in known.items():
                if state.startswith("nothing"):
                    with open(path, "rb") as file:
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                used = vault.cpu()
                spent, own = bench.measure("versions", "restore", path, version)
                found[what, state].append((spent, own + vault.cpu() - used))
                if data.digest(path) != digest:
                    raise s.Failure(f"the version {what} is not what it was after its restore")
        empty = statistics.median(bench.seconds("--version") for _ in range(5))
        bench.note("  start of the process", empty, milliseconds)
        for (what, state), times in found.items():
            shown = f"; best {milliseconds(min(t for t, _ in times))}; processor time {milliseconds(statistics.median(c for _, c in times))}"
            bench.note(f"  {what}; {state}", statistics.median(t for t, _ in times), milliseconds, "≤ 100 ms", 0.1, shown=shown)
        s.drop_caches()
        same(known[max(known)][1], data.digest(path), "the file after all restores, read from the disk")


def quota(bench):
    count = bench.sizes["quotaFiles"]
    bench.title(f"fsctl quota show, of a directory of {count:,} files")
    with bench.vault("quota") as vault:
        tree = os.path.join(vault.dir, "tree")
        for number in range(count):
            folder = os.path.join(tree, f"d{number // 1000:04}")
            if number % 1000 == 0:
                os.makedirs(folder)
            os.mknod(os.path.join(folder, f"f{number:06}"))
        vault.settle()
        start = time.perf_counter()
        bench.fsctl("quota", "set", "--tree", tree, "--bytes", "100G", "--inodes", "10M")
        bench.note("  fsctl quota set, on what is there already", time.perf_counter() - start, lambda v: f"{v * 1000:.0f} ms")
        shown = bench.command("  fsctl quota show --tree", ("quota", "show", "--tree", tree), 0.010, vault=vault,
                              request=("quota", dict(holder={"tree": {"_0": {"path": {"_0": owner.path("tree")}}}})))
        # du asks for each file's bytes, as whoever sums them up must; find only counts names.
        for what, command, target in (("du -s", ("du", "-s", "--apparent-size", tree), dict(target="≥ 10", least=10)),
                                      ("find, which counts names alone,", ("find", tree, "-printf", "x"), {})):
            for state in ("not cached", "cached"):
                if state == "not cached":
                    s.drop_caches(2)
                start = time.perf_counter()
                counted = s.run(*command, out=True)
                spent = time.perf_counter() - start
                bench.note(f"  {what} names {state}, over quota show", spent / shown, "× {:.0f}".format, **target, shown=f"; {spent:.2f} s")
        [limit] = bench.json("quota", "show", "--tree", tree)
        # `find` names the directory itself, which counts where it is and not in itself.
        same(len(counted), limit["inodes"]["used"] + 1, "inodes that count against a limit")
