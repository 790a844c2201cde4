"""Compares the events of runs, as TensorBoard's own reader has them, with their metrics.jsonl."""

import json
import struct
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def expected(run):
    """Lists of (step, value) by tag."""
    scalars = {}
    for text in (run / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text)
        if line["kind"] == "train":
            gates = line["gates"]
            values = {f"train/{name}": line[name] for name in ("loss", "accuracy", "lr")}
            values["train/blocks_run"] = gates.count("1") / len(gates)
            if "first_gradient" in line:
                values["train/first_gradient"] = line["first_gradient"]
        elif "weights" in line:
            continue
        else:
            values = {f"{line['split']}/{name}": line[name] for name in ("loss", "accuracy")}
        for tag, value in values.items():
            if value is not None:
                scalars.setdefault(tag, []).append((line["step"], value))
    return scalars


def as_f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


for run in map(Path, sys.argv[1:]):
    reader = EventAccumulator(str(run), size_guidance={"scalars": 0})
    reader.Reload()
    wanted = expected(run)
    found = reader.Tags()["scalars"]
    assert sorted(found) == sorted(wanted), f"{run}: {sorted(found)} instead of {sorted(wanted)}"
    times = []
    for tag, points in wanted.items():
        events = reader.Scalars(tag)
        read = [(event.step, event.value) for event in events]
        assert read == [(step, as_f32(value)) for step, value in points], f"{run}: {tag} differs"
        times += [(event.step, event.wall_time) for event in events]
    times.sort()
    assert all(before[1] <= after[1] for before, after in zip(times, times[1:])), f"{run}: time runs backwards"
    assert times[-1][1] > times[0][1], f"{run}: time stands still"
    print(f"{run.name}: {len(times)} scalars under {len(wanted)} tags are as in metrics.jsonl")
