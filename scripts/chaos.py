#!/usr/bin/env python3
"""Breaks training runs in every way that it knows, has them go on, and compares what they come to with a run that was
left alone: the SHA-256 of metrics, trace and weights must be the same.

    scripts/chaos.py                      some minutes: 100 kills on the CPU device, 20 on the GPU, all faults of the disk
    scripts/chaos.py --kills 1000 0       another number of kills, on the CPU device and on the GPU
    scripts/chaos.py --only kills         kills, errors, power, disk, or memory

System calls are made to fail, and recorded, by strace; full and read-only disks are file systems in memory: without
strace, or without the right to mount, these parts say so and count as failed.
"""

import argparse
import hashlib
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARY = ROOT / "target/release/sdgpu"
COMPARED = ["metrics.jsonl", "trace/steps.jsonl", "weights/last.safetensors", "weights/best.safetensors"]
PARTS = ["kills", "errors", "power", "disk", "memory"]
# A hard disk's errors, and how a run may end under them: to its end, or with a line that says what is wrong.
FAULTS = {"write": "ENOSPC", "fsync": "EIO", "fdatasync": "EIO", "rename": "EIO", "openat": "EMFILE"}
FAULTS["ftruncate"] = "EIO"


def write_data(folder: Path) -> None:
    """A set of 60 training and 20 test images of 9x9 pixels in 3 classes: class c has its quadrant c bright."""
    folder.mkdir()

    def pixel(image: int, y: int, x: int) -> int:
        noise = (image * 7919 + y * 104729 + x * 1299709) % 41
        return noise + (180 if 2 * (y >= 5) + (x >= 5) == image % 3 else 20)

    for name, count in [("train", 60), ("t10k", 20)]:
        pixels = bytes(pixel(i, y, x) for i in range(count) for y in range(9) for x in range(9))
        sizes = struct.pack(">IIII", 0x0803, count, 9, 9)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(sizes + pixels)
        labels = bytes(i % 3 for i in range(count))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x0801, count) + labels)


class Lab:
    """A folder in which runs are made on one device."""

    def __init__(self, root: Path, device: str, steps: int, every: int):
        self.root, self.device = root, device
        flags = f"--model stochastic --arch resnet8 --data {root}/tiny --device {device} --batch-size 8 --steps {steps}"
        flags += f" --eval-every 9 --checkpoint-every {every} --record trace --quiet"
        self.train = [str(BINARY), "train", *flags.split()]

    def command(self, run: Path) -> list[str]:
        """Begins `run`, or has it go on."""
        if (run / "config.toml").exists():
            return [str(BINARY), "train", "--quiet", "--resume", str(run)]
        shutil.rmtree(run, ignore_errors=True)
        return [*self.train, "--out", str(run)]

    def whole(self) -> tuple[list[str], float]:
        """What a run comes to that is left alone, and the seconds that it takes; the first one warms caches up."""
        for name in ["first", "whole"]:
            begun = time.monotonic()
            subprocess.run([*self.train, "--out", str(self.root / f"{self.device}-{name}")], check=True)
        return digests(self.root / f"{self.device}-whole"), time.monotonic() - begun


def digests(run: Path) -> list[str]:
    return [hashlib.sha256((run / name).read_bytes()).hexdigest() for name in COMPARED]


def fail(what: str) -> None:
    sys.exit(f"chaos: {what}")


def end(lab: Lab, run: Path, whole: list[str], what: str) -> None:
    """Lets `run` end undisturbed, and compares."""
    ended = subprocess.run(lab.command(run), capture_output=True, text=True)
    if ended.returncode != 0:
        fail(f"{what}: the run does not go on: {ended.stderr.strip()}")
    if digests(run) != whole:
        fail(f"{what}: the run has come to something else; it is in {run}")
    shutil.rmtree(run)


def judge(ended: subprocess.CompletedProcess, what: str) -> bool:
    """Whether a run under a fault came to its end; it may also stop with one clear line."""
    lines = [line for line in ended.stderr.splitlines() if line.startswith("sdgpu: ")]
    if ended.returncode not in (0, 1, 2) or "panicked" in ended.stderr or (ended.returncode and not lines):
        fail(f"{what}: exit code {ended.returncode}: {ended.stderr.strip()}")
    return ended.returncode == 0


def kills(lab: Lab, count: int, dice: random.Random) -> str:
    """Kills runs at random instants of their first seconds, start and writing of checkpoints included."""
    whole, seconds = lab.whole()
    killed, runs, steps = 0, 0, 0
    while killed < count:
        run = lab.root / f"{lab.device}-killed"
        while killed < count:
            child = subprocess.Popen(lab.command(run), stderr=subprocess.PIPE, text=True)
            try:
                child.wait(dice.uniform(0, seconds))
            except subprocess.TimeoutExpired:
                child.kill()
            _, stderr = child.communicate()
            if child.returncode == 0:
                break
            if child.returncode != -signal.SIGKILL:
                fail(f"after {killed} kills: exit code {child.returncode}: {stderr.strip()}")
            killed += 1
            steps += len(list((run / "checkpoints").glob("*.partial"))) if run.exists() else 0
        end(lab, run, whole, f"{killed} kills")
        runs += 1
    return f"{killed} kills over {runs} runs, {steps} of them within the writing of a checkpoint"


def errors(lab: Lab, dice: random.Random) -> str:
    """Has system calls fail, one at a time: each of the few, and some of the many."""
    if not shutil.which("strace"):
        fail("strace is needed to inject errors (Debian: apt install strace)")
    whole, _ = lab.whole()
    report = []
    for call, error in FAULTS.items():
        run = lab.root / f"{lab.device}-errors"
        count = calls(lab, run, call)
        chosen = range(1, count + 1) if count <= 40 else sorted(dice.sample(range(1, count + 1), 40))
        survived = 0
        for number in chosen:
            shutil.rmtree(run, ignore_errors=True)
            ended = traced(lab, run, ["-e", f"inject={call}:error={error}:when={number}"])
            survived += judge(ended, f"{call} {number} fails with {error}")
            end(lab, run, whole, f"{call} {number} failed with {error}")
        report.append(f"{call} {len(chosen)} of {count} ({survived} trained on)")
    return "system calls that failed: " + ", ".join(report)


def traced(lab: Lab, run: Path, flags: list[str]) -> subprocess.CompletedProcess:
    """A run under strace, all of whose threads count as one."""
    log = lab.root / "strace.log"
    # What the loader and the run-time open before `main` is not ours to handle: only paths of the run count.
    paths = [part for path in [run, *[run / name for name in names(run)]] for part in ("-P", str(path))]
    return subprocess.run(
        ["strace", "-f", "-qq", "-o", str(log), *paths, *flags, *lab.command(run)], capture_output=True, text=True
    )


def names(run: Path) -> list[str]:
    """All files that a run opens, relative to its folder."""
    steps = [f"checkpoints/step-{step:010}.{kind}" for step in range(60) for kind in ("partial", "safetensors")]
    weights = [f"weights/{name}.{kind}" for name in ("last", "best") for kind in ("partial", "safetensors")]
    trace = ["trace/initial.partial", "trace/initial.safetensors", "trace/steps.jsonl"]
    others = ["config.toml", "config.partial", "lock", "metrics.jsonl", "timing.jsonl", "checkpoints", "weights"]
    return [*others, *steps, *weights, *trace]


def calls(lab: Lab, run: Path, call: str) -> int:
    """How often a run makes the system call `call` on its own files."""
    shutil.rmtree(run, ignore_errors=True)
    traced(lab, run, ["-e", f"trace={call}"])
    return (lab.root / "strace.log").read_text().count(f" {call}(")


def disk(lab: Lab) -> str:
    """Trains on disks that are too small, and on one that becomes read-only and writable again."""
    whole, _ = lab.whole()
    report = []
    for kilobytes in [16, 200, 700, 1200, 2000, 3000]:
        with Mounted(lab.root / "small", f"size={kilobytes}k") as folder:
            run = folder / "run"
            ended = subprocess.run(lab.command(run), capture_output=True, text=True)
            trained = judge(ended, f"a disk of {kilobytes} KiB")
            subprocess.run(["mount", "-o", "remount,size=100m", str(folder)], check=True)
            end(lab, run, whole, f"a disk of {kilobytes} KiB")
        report.append(f"{kilobytes} KiB {'trained on' if trained else 'stopped'}")
    with Mounted(lab.root / "frozen", "size=100m") as folder:
        run = folder / "run"
        child = subprocess.Popen(lab.command(run), stderr=subprocess.PIPE, text=True)
        while not list((run / "checkpoints").glob("*.safetensors")):
            time.sleep(0.001)
        # Open files keep a file system from becoming read-only: the folder in it is mounted over itself.
        subprocess.run(["mount", "--bind", str(run / "checkpoints"), str(run / "checkpoints")], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", str(run / "checkpoints")], check=True)
        _, stderr = child.communicate()
        ended = subprocess.CompletedProcess([], child.returncode, "", stderr)
        trained = judge(ended, "a folder that becomes read-only")
        subprocess.run(["umount", str(run / "checkpoints")], check=True)
        end(lab, run, whole, "a folder that became read-only")
        report.append(f"read-only checkpoints {'trained on' if trained else 'stopped'}")
    return "disks: " + ", ".join(report)


class Mounted:
    """A file system in memory."""

    def __init__(self, path: Path, options: str):
        self.path, self.options = path, options

    def __enter__(self) -> Path:
        self.path.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", self.options, "tmpfs", str(self.path)])
        if mounted.returncode != 0:
            fail("the right to mount a file system is needed (run as root)")
        return self.path

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", str(self.path)], check=True)
        self.path.rmdir()


def power(lab: Lab) -> str:
    """Cuts the power after each system call of a run: what it asked of the file system is recorded, and written again
    as a disk may have it that forgets all that it need not keep. From there the run goes on."""
    if not shutil.which("strace"):
        fail("strace is needed to record system calls (Debian: apt install strace)")
    whole, _ = lab.whole()
    run = lab.root / f"{lab.device}-power"
    log = lab.root / "strace.log"
    calls = "trace=openat,mkdir,write,ftruncate,fsync,fdatasync,rename,unlink"
    strace = ["strace", "-f", "-qq", "-y", "-xx", "-s", "16777216", "-o", log, "-e", calls]
    subprocess.run([*strace, *lab.command(run)], check=True)
    disk, number, kept = Disk(), 0, -1
    for call, paths, effect in recorded(log.read_text(), lab.root, run, disk):
        effect()
        number += 1
        kept = max([kept, *disk.safe_checkpoints(run)])
        for names_first in (False, True):
            shutil.rmtree(run)
            disk.after_a_loss(names_first)
            left = [int(path.stem[5:]) for path in run.glob("checkpoints/*.safetensors")]
            what = f"no power after call {number}, {call} {paths[0]}"
            # Also if the newest is not whole: then an older one has to do.
            if max(left, default=-1) < kept:
                fail(f"{what}: the checkpoint of step {kept} is lost")
            end(lab, run, whole, what)
            run.mkdir()
    if kept < 0:
        fail("no checkpoint is ever safe from a loss of power")
    return f"{2 * number} losses of power after {number} system calls"


class Node:
    """A file, and as much of it as is on the disk."""

    def __init__(self):
        self.content, self.synced = b"", b""


class Disk:
    """What a file system has been told, and what it must still have after a loss of power: POSIX promises contents when
    the file was synced, and names when their folder was. Folders are `None`."""

    def __init__(self):
        self.names: dict[Path, Node | None] = {}
        self.synced: dict[Path, Node | None] = {}

    def sync(self, path: Path) -> Callable[[], None]:
        """What is asked for now counts when the call returns."""
        node = self.names.get(path)
        if node is None:
            inside = {name: node for name, node in self.names.items() if name.parent == path}
            return lambda: self.keep(path, inside)
        content = node.content
        return lambda: setattr(node, "synced", content)

    def keep(self, folder: Path, inside: dict[Path, Node | None]) -> None:
        self.synced = {name: node for name, node in self.synced.items() if name.parent != folder} | inside

    def open(self, path: Path, flags: str) -> None:
        node = self.names.setdefault(path, Node()) if "O_CREAT" in flags else self.names.get(path)
        if node and "O_TRUNC" in flags:
            node.content = b""

    def reachable(self, names: dict[Path, Node | None]) -> dict[Path, Node | None]:
        """Those whose folders are there too, folders first."""
        root = min((len(path.parts) for path in self.names), default=0)
        found: dict[Path, Node | None] = {}
        for path in sorted(names, key=lambda path: len(path.parts)):
            if path.parent in found or len(path.parts) == root:
                found[path] = names[path]
        return found

    def after_a_loss(self, names_first: bool) -> None:
        """Writes what is left: of the names all or those that are safe, of the contents what is safe."""
        for path, node in self.reachable(self.names if names_first else self.synced).items():
            if node is None:
                path.mkdir(exist_ok=True)
            else:
                path.write_bytes(node.synced)

    def safe_checkpoints(self, run: Path) -> list[int]:
        """Steps of the checkpoints that no loss of power can take."""
        safe = self.reachable(self.synced).items()
        whole = [path for path, node in safe if node and node.synced == node.content and path in self.names]
        inside = [path for path in whole if path.parent == run / "checkpoints" and path.suffix == ".safetensors"]
        return [int(path.stem[5:]) for path in inside]


def recorded(log: str, root: Path, run: Path, disk: Disk) -> Iterator[tuple[str, list[Path], Callable[[], None]]]:
    """The system calls in `log` that change `run`, with what each does to `disk` when it returns."""
    begun: dict[str, tuple[str, list[Path], Callable[[], None]]] = {}
    for line in log.splitlines():
        thread, _, rest = line.partition(" ")
        rest = rest.strip()
        if rest.startswith("<... "):
            call = begun.pop(thread, None)
            returned = rest
        else:
            call = parsed(rest, root, run, disk)
            returned = rest
            if rest.endswith("<unfinished ...>"):
                if call:
                    begun[thread] = call
                continue
        if call and re.search(r"= \d+(<.*>)?$", returned):
            yield call


def parsed(text: str, root: Path, run: Path, disk: Disk) -> tuple[str, list[Path], Callable[[], None]] | None:
    """A system call on `run` or its folder."""
    name, _, arguments = text.partition("(")
    texts = re.findall(r'["<]((?:\\x[0-9a-f]{2})*)[">]', arguments)
    decoded = [bytes.fromhex(text.replace("\\x", "")) for text in texts]
    if name == "openat":
        # The first one is the folder that a relative path is in.
        decoded = decoded[-1:] if "O_" not in arguments.split('"')[0] else decoded
    if not decoded:
        return None
    path = Path(os.fsdecode(decoded[0]))
    if path != run and run not in path.parents and not (path == root and name == "fsync"):
        return None
    paths = [path]
    match name:
        case "mkdir":
            return name, paths, lambda: disk.names.update({path: None})
        case "openat":
            flags = arguments
            return name, paths, lambda: disk.open(path, flags)
        case "write":
            node, data = disk.names[path], decoded[1]
            return name, paths, lambda: setattr(node, "content", node.content + data)
        case "ftruncate":
            node, length = disk.names[path], int(re.search(r", (\d+)", arguments)[1])
            return name, paths, lambda: setattr(node, "content", node.content[:length])
        case "fsync" | "fdatasync":
            return name, paths, disk.sync(path)
        case "rename":
            to = Path(os.fsdecode(decoded[1]))
            return name, [path, to], lambda: disk.names.update({to: disk.names.pop(path)})
        case "unlink":
            return name, paths, lambda: disk.names.pop(path)
    return None


def memory(lab: Lab) -> str:
    """The slope of memory and open files over a run."""
    child = subprocess.Popen(lab.command(lab.root / f"{lab.device}-memory"))
    metrics = lab.root / f"{lab.device}-memory/metrics.jsonl"
    samples = []
    while child.poll() is None:
        time.sleep(0.2)
        try:
            step = sum(line.startswith('{"kind":"train"') for line in metrics.open())
            pages = int(Path(f"/proc/{child.pid}/statm").read_text().split()[1])
            samples.append((step, pages * 4096 / 2**20, len(os.listdir(f"/proc/{child.pid}/fd"))))
        except (FileNotFoundError, IndexError):
            pass
    last = samples[-1][0]
    late = [sample for sample in samples if 0.25 * last < sample[0] < last]
    mean = sum(step for step, *_ in late) / len(late), sum(mib for _, mib, _ in late) / len(late)
    slope = sum((s - mean[0]) * (m - mean[1]) for s, m, _ in late) / sum((s - mean[0]) ** 2 for s, *_ in late)
    files = max(f for *_, f in late) - late[0][2]
    if child.returncode != 0 or 1000 * slope > 1 or files > 0:
        fail(f"{lab.device}: {1000 * slope:.3f} MiB and {files} files more in 1,000 steps")
    return f"memory over {last} steps: {1000 * slope:+.3f} MiB in 1,000 steps, no open file more"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, nargs=2, default=[100, 20], metavar=("CPU", "GPU"))
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
    dice = random.Random(args.seed)
    for device, count in zip(["cpu", "gpu"], args.kills):
        # Each part has a folder of its own; a failure leaves it there to be looked at.
        for part in PARTS:
            if args.only not in (None, part) or (device == "gpu" and part in ("errors", "power", "disk")):
                continue
            if part in ("kills", "memory") and count == 0:
                continue
            root = Path(tempfile.mkdtemp(prefix="sdgpu-chaos-"))
            write_data(root / "tiny")
            steps, every = (2000, 50) if part == "memory" else (40, 1) if part == "kills" else (20, 4)
            lab = Lab(root, device, steps, every)
            parts = {
                "kills": lambda: kills(lab, count, dice),
                "errors": lambda: errors(lab, dice),
                "power": lambda: power(lab),
                "disk": lambda: disk(lab),
                "memory": lambda: memory(lab),
            }
            print(f"{device}: {parts[part]()}", flush=True)
            shutil.rmtree(root)


if __name__ == "__main__":
    main()
