"""What looks after the stored bytes: scrubs, and giving space back."""
import collections
import contextlib
import hashlib
import os
import random
import statistics
import subprocess
import threading
import time

import data
import stage as s
from data import MIB
from past.pairs import read, write

share = "{:.1%}".format
seconds_shown = "{:.1f} s".format


def stored_files(store):
    return [os.path.join(folder, name) for folder, _, names in os.walk(store) for name in names]


def allocated(store):
    """As du counts. What goes meanwhile is gone."""
    total = 0
    for path in stored_files(store):
        with contextlib.suppress(FileNotFoundError):
            total += os.lstat(path).st_blocks * 512
    return total


# MARK: scrub

def scrub(bench):
    size = bench.sizes["scrub"] * MIB
    content = data.noise("limit", min(size, 512 * MIB))
    with open(bench.stage.at("limit"), "wb") as file:
        file.write(content)
    limit = {}
    for kind, make in (("random bytes", data.noise), ("text", lambda seed, size: data.Text(seed).bytes(size))):
        with bench.vault("scrubbed") as vault:
            for number in range(size // (16 * MIB)):
                write(os.path.join(vault.dir, str(number)), make(f"scrub {number}", 16 * MIB))
            vault.settle_optimiser()
            for path in stored_files(vault.store):  # Warm.
                if not os.path.basename(path) == "socket":
                    data.digest(path)
            status = vault.status()
            bench.title(f"fsctl scrub, {kind}: {s.human(status['storedBytes'])} stored of {s.human(size)}")
            for number in range(3):
                for what, words in (("--fast, 1 thread", ("--fast", "--threads", 1)), ("--fast, 2 threads", ("--fast",)),
                                    ("--fast, 4 threads", ("--fast", "--threads", 4)), ("as it is", ()), ("--checksums", ("--checksums",))):
                    limit.setdefault((kind, what), []).append(one_scrub(bench, vault, words))
                if kind == "random bytes":
                    machine(bench, content, limit)
            for (of, what), found in limit.items():
                if of == kind:
                    rate, (stored, plain) = statistics.median(f[0] for f in found), (found[0][1], status["uniqueBytes"])
                    core = statistics.median(f[2] for f in found)
                    bench.note(f"  {what}", rate, "{:.0f} MB/s".format, "≥ 500", least=500, shown=f"; best {max(f[0] for f in found):.0f}; "
                               f"in a second of a core {core:.0f} MB, {core * plain / stored:.0f} MB of content")
    for (of, what), found in limit.items():
        if of == "machine":
            bench.note(f"  this machine: {what}", statistics.median(found), "{:.0f} MB/s".format)


def one_scrub(bench, vault, words):
    used = vault.cpu()
    [found] = bench.json("scrub", "--restart", *words, vault.dir)
    used = max(vault.cpu() - used, 1 / s.TICKS)
    if not found["isClean"] or not found["isComplete"]:
        raise s.Failure(f"a scrub of a sound vault says {found}")
    return found["bytes"] / found["seconds"] / 1e6, found["bytes"], found["bytes"] / used / 1e6


def machine(bench, content, found):
    """What SHA-256 alone takes, on one core and on two at the same time. Python's uses the processor's instructions for
    it, the program of that name not everywhere."""
    program = ["sha256sum", bench.stage.at("limit")]
    for cores in (1, 2):
        start = time.perf_counter()
        running = [subprocess.Popen(program, stdout=subprocess.DEVNULL) for _ in range(cores)]
        for process in running:
            process.wait()
        found.setdefault(("machine", f"sha256sum, {cores} at once"), []).append(cores * len(content) / 1e6 / (time.perf_counter() - start))
        start = time.perf_counter()
        running = [threading.Thread(target=lambda: hashlib.sha256(content).digest()) for _ in range(cores)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        found.setdefault(("machine", f"SHA-256 in memory, {cores} at once"), []).append(cores * len(content) / 1e6 / (time.perf_counter() - start))
    used = time.process_time()
    hashlib.sha256(content).digest()
    found.setdefault(("machine", "SHA-256 in memory, in a second of a core"), []).append(len(content) / 1e6 / (time.process_time() - used))


# MARK: giving space back

def fill(root, label, size):
    """Random files of three sizes in directories of about 12 MiB. Gives their sizes by path."""
    kinds, files, folder = [MIB] * 10 + [200 << 10] * 8 + [16 << 10] * 24, {}, None
    while size > 0:
        folder = os.path.join(root, f"{label}{len(files)}")
        os.makedirs(folder)
        for number, length in enumerate(kinds):
            path = os.path.join(folder, str(number))
            write(path, data.noise(os.path.relpath(path, root), length))
            files[path] = length
            size -= length
    return files


def halve(files, seed):
    """Deletes half of each directory's files. Gives the bytes that died; `files` is then what is left."""
    folders, dead = collections.defaultdict(list), 0
    for path in files:
        folders[os.path.dirname(path)].append(path)
    chance = random.Random(seed)
    for paths in folders.values():
        for path in chance.sample(paths, len(paths) // 2):
            os.unlink(path)
            dead += files.pop(path)
    return dead


def check(bench, vault, files):
    for path, length in files.items():
        if read(path) != data.noise(os.path.relpath(path, vault.dir), length):
            raise s.Failure(f"{path} is not what it was before space was given back")
    [found] = bench.json("check", vault.dir)
    if not found["isClean"]:
        raise s.Failure(f"the vault is not sound after space was given back: {found}")


@contextlib.contextmanager
def writer(vault):
    """Somebody who goes on saving small files, twenty a second."""
    done = threading.Event()

    def work():
        os.makedirs(os.path.join(vault.dir, "busy"))
        number = 0
        while not done.wait(0.05):
            write(os.path.join(vault.dir, "busy", str(number)), b"%d" % number)
            number += 1

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    done.set()
    thread.join()


def gc(bench):
    """What is not kept dies when it is deleted; what history keeps, when it is forgotten."""
    size = bench.sizes["gc"] * MIB
    for what, keeps in (("history off, by itself", False), ("trash empty, by itself", True), ("trash empty, by itself while somebody writes", True),
                        ("trash empty, fsctl gc", True)):
        bench.title(f"Half of {s.human(size)} dies: {what}")
        with bench.vault("half", "--keep" if keeps else "--no-keep") as vault:
            files = fill(vault.dir, "d", size)
            vault.settle_optimiser()
            before = allocated(vault.store)
            dead = halve(files, what)
            with writer(vault) if "writes" in what else contextlib.nullcontext():
                if keeps:
                    bench.note("  fsctl trash empty", bench.seconds("trash", "empty", vault.dir), seconds_shown)
                start = time.monotonic()
                if "fsctl gc" in what:
                    bench.note("  fsctl gc", bench.seconds("gc", vault.dir), seconds_shown)
                # Twice the target, and what throttling may cost: what is not back by then waits for something else.
                while before - allocated(vault.store) < 0.95 * dead and time.monotonic() < start + 180:
                    time.sleep(0.25)
                spent, back = time.monotonic() - start, (before - allocated(vault.store)) / dead
            bench.note("  95 % of the dead bytes are back after", spent, seconds_shown, "≤ 60 s", 60, shown=f"  ({back:.1%} then)")
            vault.settle_optimiser(120)
            back = (before - allocated(vault.store)) / dead
            bench.note("  given back in the end, of the dead bytes", back, share, "≥ 95 %", least=0.95)
            if back < 0.95:
                bench.seconds("gc", vault.dir)
                bench.note("  and after fsctl gc", (before - allocated(vault.store)) / dead, share, "≥ 95 %", least=0.95)
            check(bench, vault, files)
