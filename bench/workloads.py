"""The workloads of bench/compare: what programs do to a directory, in groups that build on one another.

What must stay true:
1. A group gets an empty folder and data no store has seen; it times with `turn.timed(row)` and checks what it reads.
2. Nothing but the work itself happens inside `timed`: data is made before, checking comes after.
3. Every row a group may time is in its list in GROUPS.
"""
import os
import random
import shutil
import sqlite3

import data
from data import MIB
from stage import Failure, run

SIZES = {
    "full": dict(files=5000, tree=5000, large=256, syncs=200, git=1000, rows=200, renames=2000),
    "quick": dict(files=200, tree=200, large=8, syncs=20, git=50, rows=20, renames=100),
}


class Round:
    """The data of one round, the same for each file system. Made when first asked for, outside of all timing."""

    def __init__(self, scratch, number, sizes, tree):
        self.scratch, self.number, self.sizes, self._real, self._made = scratch, number, sizes, tree, {}

    def once(self, key, make):
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def seed(self, name):
        return f"{name} {self.number}"

    def small(self):
        """Contents of the small files: 4 KiB each, two in three text, one random."""
        def make():
            count, text = self.sizes["files"], data.Text(self.seed("small")).bytes(self.sizes["files"] * 4096)
            dull = data.noise(self.seed("small noise"), count * 4096)
            return [(dull if i % 3 == 2 else text)[i * 4096:(i + 1) * 4096] for i in range(count)]
        return self.once("small", make)

    def large(self, kind):
        size = self.sizes["large"] * MIB
        make = data.noise if kind == "random" else lambda seed, size: data.Text(seed).bytes(size)
        return self.once(kind, lambda: memoryview(make(self.seed(kind), size)))

    def tree(self, use, files):
        """A real tree that only this round and use have: its folder and fingerprint."""
        def make():
            folder = os.path.join(self.scratch, use)
            data.plant(self._real, folder, self.seed(use), files)
            return folder, data.fingerprint(folder)
        return self.once("tree " + use, make)

    def tar(self):
        """Such a tree as a tar file."""
        def make():
            folder, wanted = self.tree("untar", self.sizes["tree"])
            path = os.path.join(self.scratch, "untar.tar")
            data.pack(folder, path)
            return path, wanted
        return self.once("tar", make)

    def end(self):
        self._made.clear()
        shutil.rmtree(self.scratch, ignore_errors=True)


def same(wanted, found, what):
    if wanted != found:
        raise Failure(f"{what}: what was read is not what was written")


def same_tree(turn, wanted, folder, what):
    found = data.fingerprint(folder)
    if not turn.target.keeps_attributes:
        wanted, found = ({name: facts[-1] for name, facts in tree.items()} for tree in (wanted, found))
    wrong = data.differences(wanted, found)
    if wrong:
        raise Failure(f"{what}: {wrong}")


def small(turn):
    contents, each = turn.data.small(), 100
    paths = [f"d{i // each:03}/f{i:05}" for i in range(len(contents))]
    with turn.timed("create"):
        for path, content in zip(paths, contents):
            if path.endswith("00"):
                os.mkdir(turn.path(path[:4]))
            with open(turn.path(path), "xb", buffering=0) as file:
                file.write(content)
    turn.cool()
    with turn.timed("stat cold"):
        total = sum(entry.stat().st_size for folder in os.scandir(turn.dir) for entry in os.scandir(folder))
    same(4096 * len(contents), total, "stat cold")
    turn.cool()
    with turn.timed("read cold"):
        found = [turn.read(path) for path in paths]
    same(contents, found, "read cold")
    with turn.timed("grep warm"):
        hits = sum(b"eat" in turn.read(path) for path in paths)
    same(sum(b"eat" in content for content in contents), hits, "grep warm")
    moves = paths[:turn.data.sizes["renames"]]
    os.mkdir(turn.path("moved"))
    with turn.timed("rename"):
        for i, path in enumerate(moves):
            os.rename(turn.path(path), turn.path("moved", str(i)))
    same(contents[:len(moves)], [turn.read("moved", str(i)) for i in range(len(moves))], "rename")
    with turn.timed("rm -rf"):
        run("rm", "-rf", turn.dir)
    same(False, os.path.exists(turn.dir), "rm -rf")


def tree(turn):
    archive, wanted = turn.data.tar()
    os.mkdir(turn.path("tree"))
    with turn.timed("untar"):
        run("tar", "-xf", archive, "-C", turn.path("tree"))
    same_tree(turn, wanted, turn.path("tree"), "untar")
    for row, command in (("cp -a", ["cp", "-a"]), ("rsync -a", ["rsync", "-a"])):
        source, wanted = turn.data.tree(row.replace(" ", ""), turn.data.sizes["tree"])
        with turn.timed(row):
            run(*command, source + "/.", turn.path(row) + "/")
        same_tree(turn, wanted, turn.path(row), row)


def large(turn):
    for kind in ("text", "random"):
        content, path = turn.data.large(kind), turn.path(kind)
        write(turn, f"write {kind}", path, content)
        turn.cool()
        buffer = bytearray(MIB)
        with turn.timed(f"read {kind}"), open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
        same(content, turn.read(path), f"read {kind}")
    content = turn.data.large("text")
    write(turn, "write again", turn.path("again"), content)
    same(content, turn.read("again"), "write again")
    with turn.timed("cp inside"):
        run("cp", turn.path("random"), turn.path("copy"))
    same(turn.data.large("random"), turn.read("copy"), "cp inside")


def write(turn, row, path, content):
    """Two rows: until close, and until it is on the disk."""
    with turn.timed(row, alone=False), turn.timed(row + " +sync"):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        for at in range(0, len(content), MIB):
            os.write(handle, content[at:at + MIB])
        os.close(handle)
        turn.lap(row)
        handle = os.open(path, os.O_WRONLY)
        os.fsync(handle)
        os.close(handle)


def durable(turn):
    count, text = turn.data.sizes["syncs"], turn.data.large("text")
    chance, whole = random.Random(turn.data.number), min(len(text), 16 * MIB)
    model = bytearray(text[:whole])
    with open(turn.path("base"), "xb") as file:
        file.write(model)
        os.fsync(file.fileno())
    spots = [chance.randrange(whole // 4096) * 4096 for _ in range(count)]
    blocks = [chance.randbytes(4096) for _ in range(count)]
    for row, name, flags, places, pieces in (
            ("write+fsync", "log", os.O_CREAT, [i * 4096 for i in range(count)], blocks),
            ("append+fsync", "lines", os.O_CREAT | os.O_APPEND, [None] * count, [b[:100] for b in blocks]),
            ("overwrite+fsync", "base", 0, spots, blocks)):
        with turn.timed(row):
            handle = os.open(turn.path(name), os.O_WRONLY | flags)
            for place, piece in zip(places, pieces):
                os.write(handle, piece) if place is None else os.pwrite(handle, piece, place)
                os.fsync(handle)
            os.close(handle)
    for place, block in zip(spots, blocks):
        model[place:place + 4096] = block
    turn.cool()
    same(b"".join(blocks), turn.read("log"), "write+fsync")
    same(b"".join(b[:100] for b in blocks), turn.read("lines"), "append+fsync")
    same(bytes(model), turn.read("base"), "overwrite+fsync")


def git(turn):
    source, _ = turn.data.tree("git", turn.data.sizes["git"])
    work = turn.path("work")
    run("cp", "-a", source, work)
    with turn.timed("git commit"):
        run("git", "init", "-q", ".", cwd=work)
        run("git", "add", "-A", cwd=work)
        run("git", "commit", "-q", "-m", "all", cwd=work)
    turn.cool()
    run("git", "fsck", "--strict", cwd=work)
    if status := run("git", "status", "--porcelain", cwd=work, out=True):
        raise Failure(f"git status after the commit: {status[:100]}")


def sqlite(turn):
    count = turn.data.sizes["rows"]
    values = [data.Text(turn.data.seed(f"row {i}")).bytes(300).decode() for i in range(count)]
    for mode in ("DELETE", "WAL"):
        path, row = turn.path(mode), f"sqlite {mode}"
        with turn.timed(row):
            base = sqlite3.connect(path, isolation_level=None)
            base.execute(f"PRAGMA journal_mode={mode}")
            base.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
            for value in values:  # One transaction each.
                base.execute("INSERT INTO t (v) VALUES (?)", (value,))
            base.close()
        turn.cool()
        base = sqlite3.connect(path)
        same(values, [v for v, in base.execute("SELECT v FROM t ORDER BY id")], row)
        same("ok", base.execute("PRAGMA integrity_check").fetchone()[0], row)
        base.close()


GROUPS = [
    (small, ["create", "stat cold", "read cold", "grep warm", "rename", "rm -rf"]),
    (tree, ["untar", "cp -a", "rsync -a"]),
    (large, ["write text", "write text +sync", "read text", "write random", "write random +sync", "read random",
             "write again", "write again +sync", "cp inside"]),
    (durable, ["write+fsync", "append+fsync", "overwrite+fsync"]),
    (git, ["git commit"]),
    (sqlite, ["sqlite DELETE", "sqlite WAL"]),
]
