#!/usr/bin/env python3
"""Writes tests/fixtures/*.safetensors: five training steps of small nets in PyTorch, which judge sdgpu's trainer.

    python3 scripts/goldens.py            rewrites the fixtures, the same bytes each time
    python3 scripts/goldens.py --check    rewrites nothing: prints how far the same steps in f32 stray from the fixtures

Everything runs in f64 from f32 initial weights and is rounded to f32 once, when stored.
tests/fixtures/README.md says what the tensors and the metadata are. Needs torch, numpy and safetensors.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"
CLASSES = 10
STEPS = 5
SNAPSHOTS = (1, 5)  # after which steps the parameters and running statistics are stored

BATCH_NORM = dict(epsilon=1e-5, momentum=0.1)  # PyTorch's defaults
# A large epsilon: with 1e-8, Adam turns a gradient that is all rounding error into a step of full length.
ADAM = dict(name="adam", learning_rate=0.002, beta1=0.9, beta2=0.999, epsilon=1e-3, weight_decay=0.0)
SGD = dict(name="sgd", learning_rate=0.01, momentum=0.9, nesterov=True, weight_decay=0.01)

# Widths are no powers of two and images have odd sizes, so that a wrong stride or a missing tail shows.
CIFAR = dict(net="cifar", layers=[1, 1, 1], widths=[4, 6, 8], input=[9, 9, 1], batch=6)
BASIC = dict(net="basic", layers=[1, 1, 1, 1], widths=[4, 6, 8, 10], input=[29, 27, 1], batch=7)
BOTTLENECK = dict(net="bottleneck", layers=[1, 2, 1, 1], widths=[2, 3, 4, 5], input=[24, 24, 1], batch=8)
DEFAULTS = dict(label_smoothing=0.0, branch_scale="eval", dropped_update="zero")

# `gates` has one string per step with one digit per block, 1 where the block runs. In each fixture every block is
# dropped at least once and runs at least once.
VARIANTS = {
    "cifar-adam": CIFAR | dict(optimizer=ADAM, gates=["111", "101", "011", "110", "010"]),
    # Two blocks to a group: neighbours dropped together, and a step that drops them all.
    "cifar-sgd": CIFAR
    | dict(layers=[2, 2, 2], optimizer=SGD, gates=["111111", "100110", "011001", "000000", "101101"]),
    "cifar-freeze-adam": CIFAR
    | dict(
        optimizer=ADAM | dict(weight_decay=0.01),
        dropped_update="freeze",
        gates=["011", "101", "000", "110", "111"],
    ),
    "basic-adam": BASIC
    | dict(optimizer=ADAM | dict(weight_decay=0.01), gates=["1111", "0110", "1001", "1101", "1011"]),
    "basic-sgd-trainscale": BASIC
    | dict(optimizer=SGD, branch_scale="train", gates=["1011", "0111", "1110", "1101", "1111"]),
    "bottleneck-adam-smoothing": BOTTLENECK
    | dict(optimizer=ADAM, label_smoothing=0.1, gates=["10110", "01111", "11011", "11101", "00101"]),
    # Three channels: normalisation per channel, and an image layout that cannot be confused with planes.
    # A lower rate, as batch norm over the last group's eight values magnifies rounding from step to step.
    "bottleneck-freeze-sgd": BOTTLENECK
    | dict(
        input=[24, 24, 3],
        optimizer=SGD | dict(learning_rate=0.003),
        dropped_update="freeze",
        gates=["01101", "11111", "10010", "11011", "10110"],
    ),
}


def conv(inputs, outputs, kernel, stride=1):
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class OptionA(nn.Module):
    """He et al. 2016's shortcut without parameters: 2x2 average pool, and zeros for the new channels."""

    def __init__(self, new_channels):
        super().__init__()
        self.new_channels = new_channels

    def forward(self, x):
        x = F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
        return F.pad(x, (0, 0, 0, 0, 0, self.new_channels))


class Block(nn.Module):
    """A residual block with torchvision's names: y = ReLU(shortcut(x) + factor * branch(x))."""

    def __init__(self, convolutions, downsample):
        super().__init__()
        self.depth = len(convolutions)
        for i, convolution in enumerate(convolutions, 1):
            self.add_module(f"conv{i}", convolution)
            self.add_module(f"bn{i}", nn.BatchNorm2d(convolution.out_channels))
        self.downsample = downsample

    def branch(self, x):
        for i in range(1, self.depth + 1):
            x = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(x))
            x = F.relu(x, inplace=True) if i < self.depth else x
        return x

    def branch_parameters(self):
        return [p for name, p in self.named_parameters() if not name.startswith("downsample")]

    def forward(self, x, factor):
        """`factor` is None if the block is dropped: its branch is not run at all."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(shortcut if factor is None else torch.add(shortcut, self.branch(x), alpha=factor))


class ResNet(nn.Module):
    """The three families of nets; `spec` is a value of VARIANTS."""

    def __init__(self, spec):
        super().__init__()
        widths, channels = spec["widths"], spec["widths"][0]
        small = spec["net"] == "cifar"
        expansion = 4 if spec["net"] == "bottleneck" else 1
        self.conv1 = conv(spec["input"][2], channels, 3) if small else conv(spec["input"][2], channels, 7, 2)
        self.bn1 = nn.BatchNorm2d(channels)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1)
        self.blocks = []
        for group, (blocks, width) in enumerate(zip(spec["layers"], widths), 1):
            layer = nn.Sequential()
            for i in range(blocks):
                stride, outputs = (2 if group > 1 and i == 0 else 1), width * expansion
                if expansion == 1:
                    convolutions = [conv(channels, width, 3, stride), conv(width, width, 3)]
                else:  # v1.5: the 3x3 convolution has the stride
                    convolutions = [conv(channels, width, 1), conv(width, width, 3, stride), conv(width, outputs, 1)]
                if stride == 1 and channels == outputs:
                    downsample = None
                elif small:
                    downsample = OptionA(outputs - channels)
                else:
                    downsample = nn.Sequential(conv(channels, outputs, 1, stride), nn.BatchNorm2d(outputs))
                layer.append(Block(convolutions, downsample))
                channels = outputs
            self.add_module(f"layer{group}", layer)
            self.blocks += layer
        self.fc = nn.Linear(channels, CLASSES)

    def forward(self, x, factors):
        x = self.maxpool(F.relu(self.bn1(self.conv1(x)), inplace=True))
        for block, factor in zip(self.blocks, factors):
            x = block(x, factor)
        return self.fc(x.mean((2, 3)))

    def initialise(self, generator):
        """Random throughout, batch norm too: with ones and zeros a swapped weight and bias would not show."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
                nn.init.uniform_(module.bias, -0.2, 0.2, generator=generator)
            elif isinstance(module, nn.Linear):
                bound = module.in_features**-0.5
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)

    def calibrate(self, x):
        """Sets the running statistics to those of `x`. From 0 and 1, five steps would leave inference far off."""
        norms = [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            self(x, [1.0] * len(self.blocks))
        for norm in norms:
            norm.momentum = BATCH_NORM["momentum"]

    def state(self):
        """Parameters and running statistics, as f32 copies."""
        tensors = self.state_dict().items()
        return {name: t.to(torch.float32, copy=True) for name, t in tensors if not name.endswith("num_batches_tracked")}


def make_optimizer(settings, parameters):
    if settings["name"] == "adam":
        return torch.optim.Adam(
            parameters,
            lr=settings["learning_rate"],
            betas=(settings["beta1"], settings["beta2"]),
            eps=settings["epsilon"],
            weight_decay=settings["weight_decay"],
        )
    return torch.optim.SGD(
        parameters,
        lr=settings["learning_rate"],
        momentum=settings["momentum"],
        nesterov=settings["nesterov"],
        weight_decay=settings["weight_decay"],
    )


def training_factors(spec, gates):
    """What each block's branch is multiplied by in a training step; None where the block is dropped."""
    scale_kept = spec["branch_scale"] == "train"
    return [(1 / p if scale_kept else 1.0) if gate == "1" else None for gate, p in zip(gates, spec["survival"])]


def inference_factors(spec):
    return [1.0 if spec["branch_scale"] == "train" else p for p in spec["survival"]]


def complete(spec):
    """A variant with everything that its fixture's metadata says."""
    blocks, channels = sum(spec["layers"]), spec["input"][2]
    spec = DEFAULTS | spec
    spec["classes"] = CLASSES
    spec["steps"] = STEPS
    spec["batch_norm"] = BATCH_NORM
    spec["survival"] = [1 - block / blocks * (1 - 0.5) for block in range(1, blocks + 1)]
    spec["mean"] = np.linspace(0.4914, 0.4465, channels, dtype=np.float32).tolist()
    spec["inverse_deviation"] = np.linspace(4.05, 3.82, channels, dtype=np.float32).tolist()
    return spec


def make_images(count, height, width, channels, generator):
    """Coarse patches with some noise, u8 [count, height, width, channels]. Pure noise would give images that deep
    layers hardly tell apart: batch norm would then divide by tiny deviations and magnify rounding."""
    noise = torch.randint(256, (count, height, width, channels), generator=generator)
    patches = torch.randint(256, (count, 3, 3, channels), generator=generator)
    patches = patches.repeat_interleave(-(-height // 3), 1).repeat_interleave(-(-width // 3), 2)
    return ((3 * patches[:, :height, :width] + noise) // 4).to(torch.uint8)


def train(spec, dtype=torch.float64):
    """The tensors of a fixture, from STEPS training steps computed in `dtype`."""
    generator = torch.Generator().manual_seed(3)
    height, width, channels = spec["input"]
    batch = spec["batch"]
    images = make_images(STEPS * batch, height, width, channels, generator)
    labels = torch.randint(CLASSES, (STEPS * batch,), dtype=torch.uint8, generator=generator)
    x = (images.float() / 255 - torch.tensor(spec["mean"])) * torch.tensor(spec["inverse_deviation"])
    x = x.permute(0, 3, 1, 2).to(dtype)

    net = ResNet(spec)
    net.initialise(generator)
    net.calibrate(x.float())
    tensors = {"images": images, "labels": labels}
    tensors |= {f"initial/{name}": t for name, t in net.state().items()}
    net.to(dtype)
    optimizer = make_optimizer(spec["optimizer"], net.parameters())
    losses = []
    for step in range(1, STEPS + 1):
        gates = spec["gates"][step - 1]
        rows = slice((step - 1) * batch, step * batch)
        logits = net(x[rows], training_factors(spec, gates))
        loss = F.cross_entropy(logits, labels[rows].long(), label_smoothing=spec["label_smoothing"])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        dropped = {p for block, gate in zip(net.blocks, gates) if gate == "0" for p in block.branch_parameters()}
        assert dropped == {p for p in net.parameters() if p.grad is None}
        if step == 1:
            tensors |= {
                f"gradients1/{name}": (torch.zeros_like(p) if p.grad is None else p.grad).to(torch.float32, copy=True)
                for name, p in net.named_parameters()
            }
        if spec["dropped_update"] == "zero":
            for p in dropped:
                p.grad = torch.zeros_like(p)
        optimizer.step()
        losses.append(loss.item())
        if step in SNAPSHOTS:
            tensors |= {f"step{step}/{name}": t for name, t in net.state().items()}
    tensors["losses"] = torch.tensor(losses, dtype=torch.float32)
    net.eval()
    with torch.no_grad():
        tensors["logits"] = net(x[:batch], inference_factors(spec)).float()
    return tensors


def relative_differences(expected, actual):
    """Per group of tensors, the largest difference relative to the largest element of its tensor."""
    worst = {}
    for name, t in expected.items():
        scale = t.double().abs().max().item() or 1.0
        group = name.split("/")[0]
        worst[group] = max(worst.get(group, 0.0), (t.double() - actual[name].double()).abs().max().item() / scale)
    return "  ".join(f"{group} {difference:.1e}" for group, difference in worst.items() if difference > 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare f32 with f64 and write nothing")
    check = parser.parse_args().check
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name, spec in VARIANTS.items():
        spec = complete(spec)
        tensors = train(spec)
        if check:
            print(f"{name:26}", relative_differences(tensors, train(spec, torch.float32)))
        else:
            # One metadata key: safetensors keeps several in a hash map, in no fixed order.
            FIXTURES.mkdir(parents=True, exist_ok=True)
            path = FIXTURES / f"{name}.safetensors"
            save_file(tensors, path, metadata={"sdgpu": json.dumps(spec, sort_keys=True)})
            print(f"{path.stat().st_size:7} bytes  {path.name}")


if __name__ == "__main__":
    main()
