"""Data to store: text-like bytes, random bytes, and trees made from a real one.

What must stay true: the same seed gives the same bytes, and different seeds share no chunk, so that a store that
deduplicates gains nothing from an earlier round.
"""
import hashlib
import os
import random
import shutil
import stat

from stage import run

MIB = 1 << 20


class Text:
    """Words with the frequencies of prose; lz4 halves it, zstd does better."""
    _lines = None

    def __init__(self, seed):
        if Text._lines is None:
            maker = random.Random(1)
            letters = "eeeeettttaaaooiinnsshhrrddlucmfwygpbvk"
            words = ["".join(maker.choices(letters, k=maker.randint(2, 9))) for _ in range(4000)]
            weights = [1 / (rank + 5) for rank in range(len(words))]
            Text._lines = [(" ".join(maker.choices(words, weights, k=7)) + "\n").encode() for _ in range(20000)]
        self._random = random.Random(str(seed))

    def bytes(self, count):
        # A random order of lines: no two stretches longer than a few lines are ever equal.
        return b"".join(self._random.choices(Text._lines, k=count // 20 + 1))[:count]


def noise(seed, count):
    maker = random.Random(str(seed))
    return b"".join(maker.randbytes(min(MIB, count - at)) for at in range(0, count, MIB))


def salted(content, salt):
    """The same content with a few bytes put in front of every 4 KiB."""
    mark = ("/*" + hashlib.sha256(salt.encode()).hexdigest()[:12] + "*/\n").encode()
    return b"".join(mark + content[at:at + 4096] for at in range(0, max(len(content), 1), 4096))


def plant(source, target, salt, files):
    """Copies at most `files` regular files of a real tree, salted, with its directories and symlinks. Gives their number."""
    count = 0
    for folder, folders, names in os.walk(source):
        folders.sort()
        inside = os.path.join(target, os.path.relpath(folder, source))
        os.makedirs(inside, exist_ok=True)
        for name in sorted(names):
            path, new = os.path.join(folder, name), os.path.join(inside, name)
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                os.symlink(os.readlink(path), new)
            elif stat.S_ISREG(status.st_mode) and status.st_size <= 8 * MIB:
                with open(path, "rb") as old, open(new, "wb") as file:
                    file.write(salted(old.read(), salt))
                shutil.copystat(path, new)
                count += 1
                if count == files:
                    return count
    return count


def pack(folder, path):
    """A tar of what is in a folder, with nanoseconds."""
    run("tar", "--format=posix", "--pax-option=delete=atime,delete=ctime", "-C", folder, "-cf", path, ".")


def fingerprint(root):
    """Everything a copy must keep, by relative name: mode, owner, time; last a link's target or the content's digest."""
    found = {}
    for folder, folders, names in os.walk(os.fsencode(root)):
        for name in folders + names:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            facts = [status.st_mode, status.st_uid, status.st_gid]
            if stat.S_ISLNK(status.st_mode):
                facts.append(os.readlink(path))
            elif stat.S_ISREG(status.st_mode):
                facts += [status.st_size, status.st_mtime_ns, digest(path)]
            found[os.path.relpath(path, os.fsencode(root))] = tuple(facts)
    return found


def digest(path):
    total = hashlib.blake2b(digest_size=16)
    with open(path, "rb", buffering=0) as file:
        while block := file.read(MIB):
            total.update(block)
    return total.digest()


def differences(wanted, found):
    """In words, or nothing."""
    wrong = [name for name in wanted if wanted[name] != found.get(name)] + [name for name in found if name not in wanted]
    if wrong:
        name = wrong[0]
        return f"{len(wrong)} names differ, first {name!r}: wanted {wanted.get(name)}, found {found.get(name)}"
