"""A temporary folder in which file systems are mounted, measured and taken away again.

What must stay true:
1. Whatever ends a benchmark (success, an exception, Ctrl-C, SIGTERM, a hang), its mounts, its processes and its
   folder go. Nothing is removed under a path that is still a mount point, so no data of a mounted file system is lost.
2. Only processes that were started here are ended, by their id.
3. A file system that hangs cannot hang the benchmark: the watchdog ends its process, and its requests then fail.
"""
import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILT = os.path.join(os.path.dirname(HERE), ".build", "release", "vaultfs")
TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20
LIBC = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """Something went wrong that the reader should be told in one line."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(*command, cwd=None, env=None, out=False, limit=1800):
    """Runs a program; its error output becomes the failure's text."""
    clean = dict(os.environ, LC_ALL="C", GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null",
                 GIT_AUTHOR_NAME="bench", GIT_AUTHOR_EMAIL="bench@localhost",
                 GIT_COMMITTER_NAME="bench", GIT_COMMITTER_EMAIL="bench@localhost", **(env or {}))
    try:
        done = subprocess.run(command, cwd=cwd, env=clean, stdin=subprocess.DEVNULL, timeout=limit,
                              stdout=subprocess.PIPE if out else subprocess.DEVNULL, stderr=subprocess.PIPE)
    except FileNotFoundError:
        raise Failure(f"{command[0]} is not installed")
    except subprocess.TimeoutExpired:
        raise Failure(f"{' '.join(command)[:80]} did not end within {limit} s")
    if done.returncode:
        raise Failure(f"{' '.join(command)[:80]}: code {done.returncode}: "
                      f"{done.stderr.decode(errors='replace').strip()[-400:]}")
    return done.stdout.decode() if out else ""


def missing(*programs):
    return [program for program in programs if not shutil.which(program)]


def sync_filesystem(path):
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if LIBC.syncfs(handle):
            raise OSError(ctypes.get_errno(), "syncfs", path)
    finally:
        os.close(handle)


def drop_caches(kinds=3):
    """3: content, names and attributes; 2: names and attributes alone, so that packs stay where they are fast."""
    try:
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write(str(kinds))
    except OSError as error:
        raise Failure(f"cannot drop the kernel's caches, run as root: {error}")


def mounts():
    """(mount point, type) of everything mounted, oldest first."""
    with open("/proc/self/mountinfo") as file:
        rows = [line.split() for line in file]
    return [(row[4].encode().decode("unicode_escape"), row[row.index("-") + 1]) for row in rows]


def filesystem_type(path):
    path = os.path.realpath(path)
    best = max((m for m in mounts() if path == m[0] or path.startswith(m[0].rstrip("/") + "/")),
               key=lambda m: len(m[0]))
    return best[1]


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def alive(pid):
    """Not gone, and not a zombie that waits for an inattentive parent."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def human(count):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024


def table(rows, heads, left=(0,)):
    """Rows as aligned text: numbers to the right, the columns in `left` to the left."""
    cells = [list(map(str, heads))] + [list(map(str, row)) for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    lines = ["  ".join(cell.ljust(w) if i in left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths)))
             for row in cells]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(line.rstrip() for line in lines)


class Stage:
    """The temporary folder, as a context: leaving it, by any way, cleans up."""

    def __init__(self, work=None, vaultfs=None):
        self.work, self.binary, self.mounted = work, vaultfs or BUILT, []

    def __enter__(self):
        if not os.access(self.binary, os.X_OK):
            raise Failure(f"no program at {self.binary}: build it (swift build -c release) or say --vaultfs PATH")
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(1))
        if self.work:
            os.makedirs(self.work, exist_ok=True)
        # Short, because a vault's socket limits the length of its path.
        self.path = os.path.realpath(tempfile.mkdtemp(prefix="vb.", dir=self.work))
        self.program = self.at("vaultfs")
        shutil.copy2(self.binary, self.program)  # A build may replace the original while we run.
        return self

    def at(self, *names):
        return os.path.join(self.path, *names)

    def folder(self, *names):
        os.makedirs(self.at(*names), exist_ok=True)
        return self.at(*names)

    def __exit__(self, *_):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for target in reversed(self.mounted):
            with contextlib.suppress(Exception):
                target.end()
        for point, _ in reversed(mounts()):
            if point.startswith(self.path + "/"):
                subprocess.run(["umount", "-l", point], stderr=subprocess.DEVNULL)
        if any(point.startswith(self.path + "/") for point, _ in mounts()):
            say(f"{self.path} is left: something in it is still mounted")
        else:
            shutil.rmtree(self.path, ignore_errors=True)


class Target:
    """A file system to measure; this one is the plain folder. `dir` is where work goes."""

    keeps_attributes = True

    def __init__(self, stage, name):
        self.stage, self.name, self.pid, self.process = stage, name, None, None
        self.store = self.dir = stage.folder(name)
        stage.mounted.append(self)

    def mount(self):
        pass

    def unmount(self):
        pass

    def cool(self):
        """Leaves nothing cached: neither in the kernel nor in the file system's own process."""
        sync_filesystem(self.dir)
        self.unmount()
        drop_caches()
        self.mount()

    def cpu(self):
        return cpu_seconds(self.pid) if self.pid else 0.0

    def settle(self):
        """Waits until what goes on in the background has ended: nothing, except in a vault."""
        return 0.0

    def kill(self):
        """Returns when the process is gone: one in the middle of an fsync stays until the disk has answered."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        if self.process:
            self.process.wait()
        end = time.monotonic() + 60
        while self.pid and alive(self.pid) and time.monotonic() < end:
            time.sleep(0.01)
        self.pid = self.process = None

    def end(self):
        try:
            self.unmount()
        except Failure:
            self.kill()


class Peer(Target):
    """Another FUSE file system, kept in the foreground so that its process is ours."""

    def __init__(self, stage, name, prepare, command):
        super().__init__(stage, name)
        self.dir = stage.folder(name + ".m")
        self.command = [word.format(store=self.store, dir=self.dir, stage=stage.path) for word in command]
        for step in prepare:
            run(*[word.format(store=self.store, stage=stage.path) for word in step])

    def mount(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)
        self.pid = self.process.pid
        for _ in range(500):
            if (self.dir in (point for point, _ in mounts())) or self.process.poll() is not None:
                break
            time.sleep(0.02)
        if not os.path.ismount(self.dir):
            raise Failure(f"{self.name} did not mount: {' '.join(self.command)}")

    def unmount(self):
        if self.process:
            for attempt in range(50):
                try:
                    run("umount", self.dir, limit=120)
                    break
                except Failure:  # Busy: a release is still under way, or someone looks at all mounts.
                    if attempt == 49:
                        raise
                    time.sleep(0.1)
            self.process.wait(120)
            self.pid = self.process = None


def bindfs(stage):
    peer = Peer(stage, "bindfs", [], ["bindfs", "-f", "{store}", "{dir}"])
    peer.keeps_attributes = False  # 1.14 loses the time that tar sets, and shows an old mode for a second.
    return peer


def gocryptfs(stage):
    with open(stage.at("pass"), "w") as file:
        file.write("bench\n")
    return Peer(stage, "gocryptfs", [["gocryptfs", "-q", "-init", "-scryptn", "10", "-passfile", "{stage}/pass", "{store}"]],
                ["gocryptfs", "-q", "-fg", "-allow_other", "-acl", "-passfile", "{stage}/pass", "{store}", "{dir}"])


class Vault(Target):
    def __init__(self, stage, name="vault"):
        super().__init__(stage, name)
        os.rmdir(self.store)
        self.dir = stage.folder(name + ".m")
        run(stage.program, "init", self.store)

    def mount(self):
        run(self.stage.program, "mount", self.store, self.dir, "--allow-other", limit=120)
        owner = self.status()["owner"]  # "process 123 on host, mounted on …"
        self.pid = int(owner.split()[1])

    def unmount(self):
        if self.pid:
            run(self.stage.program, "unmount", self.dir, limit=300)
            self.pid = None

    def status(self):
        return json.loads(run(self.stage.program, "status", "--json", self.dir, out=True, limit=60))

    def settle(self, limit=60):
        """Waits until the file system's process has rested for three seconds (a vault's optimiser begins after two);
        gives the processor seconds that took."""
        before = last = self.cpu()
        since, end = time.monotonic(), time.monotonic() + limit
        while time.monotonic() < min(end, since + 3):
            time.sleep(0.5)
            if self.cpu() - last > 0.03:
                since = time.monotonic()
            last = self.cpu()
        return last - before

    def settle_optimiser(self, limit=900, rest=5):
        """Waits until the stored bytes have not changed, and the process has rested, for so many seconds."""
        end, since, last = time.monotonic() + limit, time.monotonic(), None
        while time.monotonic() - since < rest:
            if time.monotonic() > end:
                say(f"the optimiser of {self.store} is still at work after {limit} s")
                break
            before = self.cpu()
            time.sleep(0.5)
            now = self.status()["storedBytes"]
            if now != last or self.cpu() - before > 0.05:
                last, since = now, time.monotonic()

    def log(self, lines=15):
        try:
            with open(os.path.join(self.store, "log"), errors="replace") as file:
                return "".join(file.readlines()[-lines:])
        except OSError as error:
            return f"no log: {error}\n"


@contextlib.contextmanager
def watchdog(target, seconds):
    """Ends the target's process if the block takes longer; `fired` in the result then says so."""
    state = {"fired": False}

    def fire():
        state["fired"] = True
        if target.pid:
            say(f"{target.name}: not done after {seconds} s, ending its process {target.pid}")
            with contextlib.suppress(ProcessLookupError):
                os.kill(target.pid, signal.SIGKILL)

    timer = threading.Timer(seconds, fire)
    timer.daemon = True
    timer.start()
    try:
        yield state
    finally:
        timer.cancel()
