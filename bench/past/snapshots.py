"""What a snapshot costs, and what ten thousand of them do to everything else."""
import os
import random
import statistics
import time

import stage as s
from past import owner
from past.pairs import Pair, read, write
from workloads import same


def fill(root, count):
    """Files, a thousand a directory; each hundredth has content, which tells its number."""
    for number in range(count):
        path = numbered(root, number)
        if number % 1000 == 0:
            os.makedirs(os.path.dirname(path))
        write(path, b"%d" % number) if number % 100 == 0 else os.mknod(path)


def numbered(root, number):
    return os.path.join(root, f"d{number // 1000:04}", f"f{number:07}")


def snapshot(bench):
    """In a small vault and in a large one: what does not depend on the number of files is the same in both."""
    times = 20
    for count in (1000, bench.sizes["snapshotFiles"]):
        bench.title(f"A snapshot of {count:,} files")
        with bench.vault("many") as vault:
            start = time.monotonic()
            fill(vault.dir, count)
            bench.note("  making them", count / (time.monotonic() - start), "{:.0f} files/s".format)
            vault.settle_optimiser()
            before = vault.status()["storedBytes"]
            bench.command("  fsctl snapshot create", lambda number: ("snapshot", "create", f"s{number}", vault.dir), 0.020, times, vault,
                          lambda number: ("make-snapshot", dict(snapshot=owner.name(f"asked{number}"), path="")))
            vault.settle_optimiser()
            after = vault.status()["storedBytes"]
            bench.note("  stored bytes", before, s.human)
            # As many by the command, and five times as many by the request alone.
            bench.note("  stored bytes a snapshot adds", (after - before) / (6 * times), s.human, "O(1)")
            check_snapshot(vault, count)


def check_snapshot(vault, count):
    shown = os.path.join(vault.dir, ".vaultfs", "snapshots", "s0")
    write(numbered(vault.dir, 0), b"changed")
    os.unlink(numbered(vault.dir, 100))
    for number in (0, 100, count - 100):
        same(b"%d" % number, read(numbered(shown, number)), "a file in a snapshot")
    folders = sorted(os.listdir(shown))
    same(-(-count // 1000), len(folders), "directories in a snapshot")
    for folder in random.Random(1).sample(folders, min(20, len(folders))):
        same(1000, len(os.listdir(os.path.join(shown, folder))), "files in a directory of a snapshot")


def entries(root, number, count):
    return [os.path.join(root, f"made{number}", f"e{i:05}") for i in range(count)]


def create(bench, root, number):
    paths = entries(root, number, bench.sizes["entries"])
    os.mkdir(os.path.dirname(paths[0]))
    yield
    for path in paths:
        write(path, b"made")
    yield


def cold_stat(bench, root, number):
    """stat, names not cached"""
    paths = entries(root, number, bench.sizes["entries"])
    s.drop_caches(2)
    yield
    total = sum(os.stat(path).st_size for path in paths)
    yield
    same(4 * len(paths), total, "sizes")


def cold_read(bench, root, number):
    """read, names and content not cached"""
    paths = entries(root, number, bench.sizes["entries"])
    s.drop_caches(2)
    yield
    found = [read(path) for path in paths]
    yield
    same([b"made"] * len(paths), found, "what was read")


def overwrite(bench, root, number):
    """write into files of before all snapshots"""
    content = f"{number} again".encode()
    paths = [os.path.join(root, "old", f"o{i:05}") for i in range(bench.sizes["entries"])]
    yield
    for path in paths:
        write(path, content)
    yield
    same([content] * len(paths), [read(path) for path in paths], "what was written")


def listing(bench, root, number):
    """list a directory, not cached, ten times"""
    folder, found = os.path.join(root, "old"), set()
    yield
    for _ in range(10):
        s.drop_caches(2)
        found.add(sum(1 for _ in os.scandir(folder)))
    yield
    same({bench.sizes["entries"]}, found, "names in a directory")


def remove(bench, root, number):
    """delete them"""
    paths = entries(root, number, bench.sizes["entries"])
    yield
    for path in paths:
        os.unlink(path)
    yield


def empty_trash(bench, root, number):
    """fsctl trash empty, of them"""
    yield
    bench.fsctl("trash", "empty", root)
    yield
    same([], bench.json("trash", "list", root), "what is in the trash")


def collection(bench, root, number):
    """fsctl gc"""
    yield
    bench.fsctl("gc", root)
    yield


def many_snapshots(bench):
    count, every = bench.sizes["snapshots"], [create, cold_stat, cold_read, overwrite, listing, remove, empty_trash, collection]
    bench.title(f"A vault with {count:,} snapshots over one without: the same work, before (both without) and after")
    with bench.vault("with") as many, bench.vault("without") as none:
        for vault in (many, none):
            os.mkdir(os.path.join(vault.dir, "old"))
            for number in range(bench.sizes["entries"]):
                write(os.path.join(vault.dir, "old", f"o{number:05}"), b"old")
        pair = Pair(bench, many, none)
        pair.ratios(every, "before: ")
        spent = []
        with owner.Owner(many) as asked:  # One process for all: ten thousand commands would only start ten thousand.
            for number in range(count):  # A file is written between two of them, so that each sees something else.
                for vault in (many, none):
                    write(os.path.join(vault.dir, f"between{number % 100}"), b"%d" % number)
                start = time.perf_counter()
                asked.ask("make-snapshot", snapshot=owner.name(f"s{number}"), path="")
                spent.append(time.perf_counter() - start)
        tenth = count // 10
        for what, part in (("first", spent[:tenth]), ("last", spent[-tenth:])):
            bench.note(f"  a snapshot, of the {what} {tenth:,}", statistics.median(part), lambda v: f"{v * 1000:.2f} ms", "≤ 20 ms", 0.02)
        pair.ratios(every, "after: ")
        same(count, len(bench.json("snapshot", "list", many.dir)), "snapshots listed")
        for number in random.Random(1).sample(range(100, count), 50):
            shown = os.path.join(many.dir, ".vaultfs", "snapshots", f"s{number}", f"between{number % 100}")
            same(b"%d" % number, read(shown), "a file in a snapshot")
        bench.command("  fsctl snapshot list", ("snapshot", "list", many.dir), times=5, vault=many, request=("snapshots", {}))
