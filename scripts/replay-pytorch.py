#!/usr/bin/env python3
"""Replays the recorded steps of a run in PyTorch, and prints how far sdgpu's losses are from PyTorch's.

    sdgpu train --preset notebook --steps 20 --record trace --model stochastic --out run
    scripts/replay-pytorch.py run

The run must be one on MNIST by Adam at a constant rate, recorded from its first step on. PyTorch begins with the
recorded weights and takes the recorded batches, gates and dropout masks; after each step it tests the batch of test
images that sdgpu tested, if the run did. All is done twice, the second time from initial weights that are each moved
to a number next to it: how far those two stray from each other is what rounding makes of the steps. Writes nothing.
Needs torch, numpy and safetensors.
"""

import argparse
import json
import lzma
import tomllib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from goldens import ResNet
from safetensors.numpy import load_file

ASSETS = Path(__file__).resolve().parent.parent / "assets" / "mnist"
DROPOUT, TEST_BATCH = 3, 4  # streams of src/rng.rs
BOTTLENECK = {"resnet50": [3, 4, 6, 3], "resnet101": [3, 4, 23, 3], "resnet152": [3, 8, 36, 3]}
BASIC = {"resnet18": [2, 2, 2, 2], "resnet34": [3, 4, 6, 3]}


def spec_of(arch):
    """What goldens.ResNet is made of."""
    common = dict(input=[28, 28, 1])
    if arch in BOTTLENECK:
        return common | dict(net="bottleneck", layers=BOTTLENECK[arch], widths=[64, 128, 256, 512])
    if arch in BASIC:
        return common | dict(net="basic", layers=BASIC[arch], widths=[64, 128, 256, 512])
    depth = int(arch.removeprefix("cifar-").removeprefix("resnet"))
    return common | dict(net="cifar", layers=[(depth - 2) // 6] * 3, widths=[16, 32, 64])


def idx(name):
    """An IDX file of `assets/mnist`."""
    data = lzma.open(ASSETS / f"{name}.xz").read()
    sizes = np.frombuffer(data, ">u4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(sizes)).reshape(sizes)


def philox(seed, stream, step, blocks):
    """Philox 4x32-10's words of the blocks 0 to `blocks`, as src/rng.rs counts them: u32 [4 * blocks]."""
    low, high = np.uint64(0xFFFFFFFF), np.uint64(32)
    counter = [np.arange(blocks, dtype=np.uint64), *(np.full(blocks, word, np.uint64) for word in (0, step, stream))]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        a, b = counter[0] * np.uint64(0xD2511F53), counter[2] * np.uint64(0xCD9E8D57)
        first = (b >> high) ^ counter[1] ^ np.uint64(key[0])
        third = (a >> high) ^ counter[3] ^ np.uint64(key[1])
        counter = [first, b & low, third, a & low]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(counter, 1).reshape(-1)


def dropout_mask(seed, step, shape, probability):
    """1 / (1 - p) where an element stays, 0 where it goes."""
    count = int(np.prod(shape))
    uniform = (philox(seed, DROPOUT, step, -(-count // 4))[:count] >> np.uint64(8)) / 2**24
    return np.where(uniform.astype(np.float32) >= np.float32(probability), 1 / (1 - probability), 0).reshape(shape)


def test_batch(count, batch, seed, step):
    """The first steps of Fisher and Yates' shuffle."""
    order = list(range(count))
    words = philox(seed, TEST_BATCH, step, -(-batch // 4))
    for place in range(batch):
        other = place + (int(words[place]) * (count - place) >> 32)
        order[place], order[other] = order[other], order[place]
    return order[:batch]


def survival(settings, blocks):
    """The blocks' survival probabilities."""
    if settings["model"] == "resnet":
        return [1.0] * blocks
    first, last = settings["survival-first"], settings["survival-last"]
    match settings["survival"]:
        case "linear":
            return [first - block / blocks * (first - last) for block in range(1, blocks + 1)]
        case "linspace":
            return np.linspace(first, last, blocks).tolist()
        case _:
            return [last] * blocks


class Replay:
    """PyTorch's net, taken through the steps of a run, from its initial weights or from those next to them."""

    def __init__(self, run, settings, moved):
        self.settings = settings
        self.files = {"train": (idx("train-images-idx3-ubyte"), idx("train-labels-idx1-ubyte"))}
        self.files["test"] = (idx("t10k-images-idx3-ubyte"), idx("t10k-labels-idx1-ubyte"))
        pixels = self.files["train"][0] / 255
        self.mean, self.deviation = np.float32(pixels.mean()), np.float32(1 / pixels.std())
        self.net = ResNet(spec_of(settings["arch"]))
        initial = load_file(run / "trace" / "initial.safetensors")
        if moved:
            dice = np.random.default_rng(0)
            to = {name: np.float32(np.inf) * dice.choice(np.float32([-1, 1]), t.shape) for name, t in initial.items()}
            initial = {name: np.nextafter(t, to[name]) for name, t in initial.items()}
        tensors = {name: torch.tensor(t) for name, t in initial.items()}
        missing, unexpected = self.net.load_state_dict(tensors, strict=False)
        assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing), (missing, unexpected)
        for module in self.net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eps, module.momentum = settings["norm-epsilon"], settings["norm-momentum"]
        self.survival = survival(settings, len(self.net.blocks))
        self.adam = torch.optim.Adam(self.net.parameters(), lr=settings["lr"], weight_decay=settings["weight-decay"])

    def batch(self, file, indices):
        images, labels = (array[indices] for array in self.files[file])
        x = torch.tensor((images / np.float32(255) - self.mean) * self.deviation)
        return x[:, None], torch.tensor(labels.astype(np.int64))

    def features(self, x, factors):
        net = self.net
        x = net.maxpool(F.relu(net.bn1(net.conv1(x))))
        for block, factor in zip(net.blocks, factors, strict=True):
            x = block(x, factor)
        return x.mean((2, 3))

    def step(self, record):
        """The loss of a training step, whose update is applied."""
        x, labels = self.batch("train", record["indices"])
        scaled = self.settings["branch-scale"] == "train"
        gates = zip(record["gates"], self.survival, strict=True)
        features = self.features(x, [(1 / p if scaled else 1.0) if gate == "1" else None for gate, p in gates])
        if self.settings["dropout"] > 0:
            seed, step = record["dropout_seed"], record["dropout_step"]
            mask = dropout_mask(seed, step, features.shape, self.settings["dropout"])
            features = features * torch.tensor(mask.astype(np.float32))
        loss = F.cross_entropy(self.net.fc(features), labels, label_smoothing=self.settings["label-smoothing"])
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        if self.settings["dropped-update"] == "zero-grad":
            for parameter in self.net.parameters():
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
        self.adam.step()
        return loss.item()

    def test(self, step):
        """Loss on the test batch of `step`."""
        x, labels = self.batch("test", test_batch(10_000, self.settings["eval-batch"], self.settings["seed"], step - 1))
        self.net.eval()
        with torch.no_grad():
            factors = [1.0] * len(self.survival) if self.settings["branch-scale"] == "train" else self.survival
            loss = F.cross_entropy(self.net.fc(self.features(x, factors)), labels)
        self.net.train()
        return loss.item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="its directory")
    run = parser.parse_args().run
    settings = tomllib.loads((run / "config.toml").read_text())["settings"]
    needed = {"data": "mnist", "optimizer": "adam", "lr-schedule": "constant", "warmup-steps": 0}
    for name, wanted in needed.items():
        if settings[name] != wanted:
            parser.error(f"{run}: {name} is {settings[name]}; only runs with {wanted} can be replayed")
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    losses = {m["step"]: m["loss"] for m in metrics if m["kind"] == "train"}
    tests = {m["step"]: m["loss"] for m in metrics if m["kind"] == "eval" and m["split"] == "test-batch"}
    records = [json.loads(line) for line in (run / "trace" / "steps.jsonl").open()]

    replays = [Replay(run, settings, moved) for moved in (False, True)]
    print(f"{settings['arch']} {settings['model']}, batch {settings['batch-size']}; PyTorch {torch.__version__}")
    print("loss in training                                  on the test batch afterwards")
    columns = f"{'sdgpu':>9} {'PyTorch':>9} {'apart':>9} {'rounding':>9}"
    print(f"step {columns}  {columns}")
    for record in records:
        step = record["step"]
        line = f"{step:4}" + compared(losses[step], [replay.step(record) for replay in replays])
        if step in tests:
            line += " " + compared(tests[step], [replay.test(step) for replay in replays])
        print(line, flush=True)


def compared(sdgpu, pytorch):
    """A loss of sdgpu and PyTorch's, how far they are apart, and how far PyTorch's two are."""
    exact, moved = pytorch
    return f" {sdgpu:9.5f} {exact:9.5f} {abs(sdgpu - exact):9.1e} {abs(moved - exact):9.1e}"


if __name__ == "__main__":
    main()
