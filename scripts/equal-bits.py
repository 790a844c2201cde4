#!/usr/bin/env python3
"""Holds what runs compute against what they computed before a change of the code: equal bits, tensor by tensor.

    scripts/equal-bits.py record SDGPU FILE [NAME...]     makes the runs with the binary SDGPU and notes their sums in FILE
    scripts/equal-bits.py check SDGPU FILE [NAME...]      makes them again and says what differs; exit code 1 if anything does

A sum is the SHA-256 of a tensor's name, shape, type and bytes, in every file of weights and every checkpoint, and of
a run's metrics. Notes in the files may change, and metrics may gain fields: only those of `FIELDS` are compared.
The bits depend on the processor: record and check on one machine. Needs nothing but Python; the runs on a GPU need an
adapter, and a software one does.
"""

import argparse
import hashlib
import json
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# What metrics.jsonl has always told, by the kind of line.
FIELDS = {
    "train": ["step", "epoch", "loss", "accuracy", "lr", "gates", "left_out", "first_gradient"],
    "eval": ["split", "step", "weights", "loss", "accuracy", "images"],
}

SMALL = "--data small --quiet --no-report"

# Name and arguments of `sdgpu train`; where `STOP n` stands, the run is stopped after n steps and goes on.
RUNS = {
    "cpu-resnet8-stochastic": f"--model stochastic --arch resnet8 --steps 60 --batch-size 16 {SMALL}",
    "cpu-resnet20-mnist": "--model stochastic --arch resnet20 --steps 40 --quiet --no-report",
    "cpu-resnet20-sgd": "--model resnet --arch resnet20 --optimizer sgd --lr 0.05 --nesterov --weight-decay 1e-4 "
    f"--lr-schedule step --steps 30 --batch-size 16 {SMALL}",
    "cpu-resnet18-freeze": "--model stochastic --arch resnet18 --dropped-update freeze --gate-sampling systematic "
    f"--steps 12 --batch-size 16 {SMALL}",
    "cpu-resnet50-notebook": f"--preset seed --model stochastic --arch resnet50 --batch-size 16 --steps 8 {SMALL}",
    "cpu-resnet50-plain": f"--preset seed --model resnet --arch resnet50 --batch-size 16 --steps 6 {SMALL}",
    "cpu-resnet14-recalibrated": "--model stochastic --arch resnet14 --bn-recalibrate 4 --test-every 10 --steps 30 "
    f"--batch-size 16 {SMALL}",
    "cpu-resnet20-resumed": "--model stochastic --arch resnet20 --dropout 0.3 --checkpoint-every 10 --steps 200 "
    f"--batch-size 16 {SMALL} STOP 60",
    "cpu-resnet14-drop-path": f"--model stochastic --arch resnet14 --drop-path 0.3 --steps 30 --batch-size 16 {SMALL}",
    "cpu-cifar-resnet26-uniform": "--model stochastic --arch cifar-resnet26 --survival uniform --survival-last 0.7 "
    f"--optimizer sgd --lr 0.02 --steps 20 --batch-size 16 {SMALL}",
    "cpu-resnet14-recorded": "--model stochastic --arch resnet14 --record trace,gradients --no-shuffle --seed 7 "
    f"--steps 20 --batch-size 16 {SMALL}",
    "cpu-resnet8-left-out": "--model stochastic --arch resnet8 --on-nan skip --lr 1e20 --warmup-steps 0 --steps 8 "
    f"--batch-size 16 {SMALL}",
    "cpu-resnet110-stochastic": f"--model stochastic --arch resnet110 --steps 6 --batch-size 8 {SMALL}",
    "gpu-resnet8-stochastic": f"--device gpu --model stochastic --arch resnet8 --steps 12 --batch-size 8 {SMALL}",
    "gpu-resnet20-freeze": "--device gpu --model stochastic --arch resnet20 --dropped-update freeze "
    f"--gate-sampling systematic --steps 6 --batch-size 8 {SMALL}",
    "gpu-resnet18-sgd": f"--device gpu --model resnet --arch resnet18 --optimizer sgd --steps 2 --batch-size 4 {SMALL}",
    "gpu-resnet14-recalibrated": "--device gpu --model stochastic --arch resnet14 --bn-recalibrate 2 --steps 6 "
    f"--batch-size 8 {SMALL}",
    "gpu-resnet50-notebook": "--device gpu --preset seed --model stochastic --arch resnet50 --batch-size 4 --steps 2 "
    f"--eval-every 2 --data tiny --quiet --no-report",
    "gpu-resnet8-resumed": "--device gpu --model stochastic --arch resnet8 --dropout 0.3 --checkpoint-every 5 "
    f"--steps 40 --batch-size 8 {SMALL} STOP 12",
    "both-resnet8-stochastic": f"--device both --model stochastic --arch resnet8 --steps 4 --batch-size 8 {SMALL}",
}


def write_set(folder, train, test, side):
    """Writes pictures whose bright quadrant and noise tell their class, of 10 classes, as four IDX files."""
    folder.mkdir()
    for split, count in [("train", train), ("t10k", test)]:
        pixels = bytearray()
        for image in range(count):
            for y in range(side):
                for x in range(side):
                    noise = (image * 7919 + y * 104729 + x * 1299709) % 41
                    bright = (2 * (2 * y >= side) + (2 * x >= side)) == image % 4
                    stripe = 60 if (x + y) % 10 == image % 10 else 0
                    pixels.append(noise + (120 if bright else 20) + stripe)
        labels = bytes(image % 10 for image in range(count))
        head = struct.pack(">IIII", 0x803, count, side, side)
        (folder / f"{split}-images-idx3-ubyte").write_bytes(head + pixels)
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, count) + labels)


def tensors(path):
    """The sums of a file's tensors."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    sums = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        head = json.dumps([name, entry["shape"], entry["dtype"]]).encode()
        sums[name] = hashlib.sha256(head + content[8 + length + begin : 8 + length + end]).hexdigest()
    return sums


def metrics(path):
    """The sum of what a run's metrics have always told, and the number of lines."""
    digest, count = hashlib.sha256(), 0
    for line in path.read_text().splitlines():
        # Numbers as they are written: equal to the last digit.
        entry = json.loads(line, parse_float=str, parse_int=str)
        fields = FIELDS.get(entry["kind"])
        if fields is None:
            continue
        told = {name: entry[name] for name in ["kind", *fields] if name in entry}
        digest.update(json.dumps(told).encode() + b"\n")
        count += 1
    return [digest.hexdigest(), count]


def train(sdgpu, folder, name, arguments):
    """Makes a run, stopped on its way if it is to be."""
    arguments, _, stop = arguments.partition(" STOP ")
    arguments = arguments.split()
    if "--device" not in arguments:
        arguments += ["--device", "cpu"]
    command = [sdgpu, "train", *arguments, "--out", name]
    if not stop:
        subprocess.run(command, cwd=folder, check=True)
        return
    run = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    lines = folder / name / "metrics.jsonl"
    while run.poll() is None:
        if lines.exists() and lines.read_bytes().count(b'"train"') >= int(stop):
            run.send_signal(signal.SIGTERM)
            break
        time.sleep(0.002)
    code = run.wait()
    if code != 128 + signal.SIGTERM:
        sys.exit(f"{name}: exit code {code} where the run should have been stopped after {stop} steps")
    resume = [sdgpu, "train", "--resume", name, "--quiet", "--no-report"]
    subprocess.run(resume, cwd=folder, check=True)


def sums(sdgpu, names):
    """The sums of each run."""
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_set(folder / "small", 240, 60, 28)
        write_set(folder / "tiny", 24, 8, 28)
        for name in names:
            began = time.time()
            train(sdgpu, folder, name, RUNS[name])
            files = sorted(path for path in (folder / name).rglob("*.safetensors"))
            result[name] = {
                "tensors": {str(path.relative_to(folder / name)): tensors(path) for path in files},
                "metrics": metrics(folder / name / "metrics.jsonl"),
            }
            count = sum(map(len, result[name]["tensors"].values()))
            print(f"{name}: {count} tensors in {len(files)} files, {time.time() - began:.1f} s", flush=True)
    return result


def differences(before, now):
    """What differs, a line each."""
    for name, run in now.items():
        old = before.get(name)
        if old is None:
            yield f"{name}: was not recorded"
            continue
        if old["metrics"] != run["metrics"]:
            yield f"{name}: metrics differ ({old['metrics'][1]} lines before, {run['metrics'][1]} now)"
        for file in sorted(old["tensors"].keys() | run["tensors"].keys()):
            was, becomes = old["tensors"].get(file, {}), run["tensors"].get(file, {})
            other = [tensor for tensor in sorted(was.keys() | becomes.keys()) if was.get(tensor) != becomes.get(tensor)]
            if other:
                yield f"{name}: {file}: {len(other)} of {len(was)} tensors differ, first {other[0]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["record", "check"])
    parser.add_argument("sdgpu", type=Path, help="the binary")
    parser.add_argument("file", type=Path, help="where the sums are")
    parser.add_argument("name", nargs="*", help="runs, or all")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.name if name not in RUNS]
    if unknown:
        parser.error(f"no run {unknown[0]}; there are {', '.join(RUNS)}")
    now = sums(arguments.sdgpu.resolve(), arguments.name or list(RUNS))
    if arguments.what == "record":
        arguments.file.write_text(json.dumps(now, indent=1) + "\n")
        return
    found = list(differences(json.loads(arguments.file.read_text()), now))
    print("\n".join(found) if found else f"{len(now)} runs, equal bits")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
