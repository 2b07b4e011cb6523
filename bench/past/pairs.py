"""The same work on two vaults in turn, and how they compare.

What must stay true:
1. A workload is a generator: what stands before its first `yield` prepares, what follows up to the second is timed, the
   rest checks. Preparing and checking are never timed.
2. Both vaults are given the same bytes, and rest while the other is measured.
"""
import os
import statistics
import time

#: Changes of a version that is younger than this belong to it, and leave nothing behind (`fsctl versions policy`).
WINDOW = 10


def read(path):
    with open(path, "rb", buffering=0) as file:
        return file.read()


def write(path, content, flags=os.O_CREAT | os.O_TRUNC):
    handle = os.open(path, os.O_WRONLY | flags)
    os.write(handle, content)
    os.close(handle)


def middle_and_range(values):
    return statistics.median(values), f"  ({min(values):.2f} … {max(values):.2f})"


class Pair:
    """Two vaults on which the same is done in turn. `ratios` compares the first with the second."""

    def __init__(self, bench, first, second):
        self.bench, self.vaults, self.ended = bench, (first, second), 0

    def ratios(self, workloads, label=""):
        seconds, cpu = {}, {}
        for number in range(self.bench.sizes["rounds"]):
            # What the round before wrote is a version of its own by now: changing it is what costs.
            time.sleep(max(0, self.ended + WINDOW + 1 - time.monotonic()))
            for workload in workloads:
                order = self.vaults if number % 2 == 0 else self.vaults[::-1]
                found = {vault: self.measure(vault, workload, f"{label}{number}") for vault in order}
                spent, used = ([found[vault][i] for vault in self.vaults] for i in (0, 1))
                seconds.setdefault(workload, []).append(spent)
                cpu.setdefault(workload, []).append(used)
            self.ended = time.monotonic()
        for workload, pairs in seconds.items():
            name, used = workload.__doc__ or workload.__name__, cpu[workload]
            ratio, shown = middle_and_range([a / b for a, b in pairs])
            first, second = (sum(u[i] for u in used) for i in (0, 1))
            best = [min(values) for values in zip(*pairs)]
            shown += f"; best × {best[0] / best[1]:.2f} of {best[1]:.3f} s"
            # Of less than that, the clock ticks of 10 ms say nothing.
            shown += f"; CPU {first / second:.2f} of {second:.1f} s" if second >= 0.3 else ""
            self.bench.note(f"  {label}{name}", ratio, "× {:.2f}".format, "≤ 1.05", 1.05, shown=shown)
            self.bench.facts[f"{label}{name}: all"] = {"seconds": pairs, "cpu": used}

    def measure(self, vault, workload, number):
        steps = workload(self.bench, vault.dir, number)
        next(steps)
        used, start = vault.cpu(), time.perf_counter()
        next(steps)
        spent = time.perf_counter() - start
        self.bench.sync(vault)
        used = vault.cpu() - used
        next(steps, None)
        vault.settle()
        return spent, used
