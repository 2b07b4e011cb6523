"""What history costs a writer: the same work with it, and without."""
import os
import random

import data
import stage as s
from data import MIB
from past.pairs import Pair, read, write
from workloads import same


def small(bench, root, number):
    """overwrite small files"""
    text, count = data.Text(f"small {number}").bytes(bench.sizes["small"] * 4096), bench.sizes["small"]
    contents = [text[i * 4096:(i + 1) * 4096] for i in range(count)]
    paths = [os.path.join(root, "small", f"f{i:05}") for i in range(count)]
    os.makedirs(os.path.join(root, "small"), exist_ok=True)
    yield
    for path, content in zip(paths, contents):
        write(path, content)
    yield
    same(contents, [read(path) for path in paths], "small files overwritten")


def big_in_order(bench, root, number):
    """overwrite a big file in order"""
    content, path = memoryview(data.noise(f"big {number}", bench.sizes["big"] * MIB)), os.path.join(root, "big")
    yield
    handle = os.open(path, os.O_WRONLY | os.O_CREAT)
    for at in range(0, len(content), MIB):
        os.write(handle, content[at:at + MIB])
    os.close(handle)
    yield
    same(content, read(path), "a big file overwritten")


def big_spots(bench, root, number):
    """4 KiB here and there in a big file"""
    path, chance = os.path.join(root, "big"), random.Random(number)
    model = bytearray(read(path))
    spots = [chance.randrange(len(model) // 4096) * 4096 for _ in range(bench.sizes["spots"])]
    blocks = [chance.randbytes(4096) for _ in spots]
    yield
    handle = os.open(path, os.O_WRONLY)
    for spot, block in zip(spots, blocks):
        os.pwrite(handle, block, spot)
    os.close(handle)
    yield
    for spot, block in zip(spots, blocks):
        model[spot:spot + 4096] = block
    same(model, read(path), "a big file overwritten here and there")


def untar(bench, root, number):
    """untar over the tree before"""
    planted, tree = bench.stage.at(f"tree{number}"), os.path.join(root, "tree")
    if not os.path.exists(planted):
        data.plant("/usr/include", planted, f"untar {number}", bench.sizes["tree"])
        data.pack(planted, planted + ".tar")
    os.makedirs(tree, exist_ok=True)
    yield
    s.run("tar", "-xf", planted + ".tar", "-C", tree)
    yield
    if wrong := data.differences(data.fingerprint(planted), data.fingerprint(tree)):
        raise s.Failure(f"untar: {wrong}")


def append(bench, root, number):
    """append 100 bytes and close, five times each"""
    paths, line = [os.path.join(root, f"log{i}") for i in range(bench.sizes["saves"] // 2)], (f"{number} " * 50)[:100].encode()
    before = os.path.getsize(paths[0]) if os.path.exists(paths[0]) else 0
    yield
    for _ in range(5):
        for path in paths:
            write(path, line, os.O_CREAT | os.O_APPEND)
    yield
    for path in paths:
        same(line * 5, read(path)[before:], "lines appended")


def save(bench, root, number):
    """save by rename, as editors do"""
    count, text = bench.sizes["saves"], data.Text(f"save {number}").bytes(bench.sizes["saves"] * 8192)
    paths = [os.path.join(root, f"document{i}") for i in range(count)]
    yield
    for i, path in enumerate(paths):
        write(path + "~new", text[i * 8192:(i + 1) * 8192])
        os.rename(path + "~new", path)
    yield
    same(text, b"".join(read(path) for path in paths), "files saved by rename")


def churn(bench, root, number):
    """create and delete"""
    paths = [os.path.join(root, f"churn{i}") for i in range(bench.sizes["churn"])]
    yield
    for path in paths:
        write(path, path.encode())
    for path in paths:
        os.unlink(path)
    yield
    same([], [name for name in os.listdir(root) if name.startswith("churn")], "files deleted")


def writes(bench):
    bench.title("Writing, history on over off: time and CPU of the vault")
    with bench.vault("on") as on, bench.vault("off", "--no-keep") as off:
        Pair(bench, on, off).ratios([small, big_in_order, big_spots, untar, append, save, churn])
        for vault, wanted in ((on, bench.sizes["rounds"]), (off, 1)):
            found = len(bench.json("versions", "list", os.path.join(vault.dir, "small", "f00000")))
            # In the first round the file was made and written; both are one version.
            same(wanted, found, f"versions of a small file in `{vault.name}`")
