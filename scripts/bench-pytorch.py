#!/usr/bin/env python3
"""Times sdgpu and PyTorch in turn, each in processes of its own, and writes a Markdown table of ratios.

    cargo build --release
    scripts/bench-pytorch.py --out docs/benchmarks/NAME.md          every row
    scripts/bench-pytorch.py --rows plain,if --rounds 2 --steps 6   some rows, quickly, to stdout

A round of a row runs sdgpu, then every variant of PyTorch; then comes the next round, so that a machine whose speed
drifts slows both programs. The file says below its tables what is timed and how the gates are replayed (NOTES, here).
Times differ from run to run: compare only what one call of this script writes. The first call compiles for minutes.
Needs torch, numpy and safetensors; for the row torchvision also torchvision; for torch.compile a C++ compiler.
"""

import argparse
import datetime
import json
import os
import platform
import random
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from goldens import ResNet
from torch import nn

SIDE = 28
CLASSES = 10
TEST_IMAGES = 10_000
P_LAST = 0.5
ARCHITECTURES = {
    "resnet20": dict(net="cifar", layers=[3, 3, 3], widths=[16, 32, 64], input=[SIDE, SIDE, 1]),
    "resnet110": dict(net="cifar", layers=[18, 18, 18], widths=[16, 32, 64], input=[SIDE, SIDE, 1]),
    "resnet50": dict(net="bottleneck", layers=[3, 4, 6, 3], widths=[64, 128, 256, 512], input=[SIDE, SIDE, 1]),
}
LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
# By a variant's name, torch.compile's mode.
GRAPH, COMPILED_GRAPHS = "one CUDA graph", "compiled with CUDA graphs"
MODES = {"eager": None, GRAPH: None, "compiled": "default", COMPILED_GRAPHS: "reduce-overhead"}
EVALUATION_BATCHES = (100, 400, 1000)
# A variant is left out of later rounds once its fastest step takes so many times as long as the fastest one's.
HOPELESS = 1.3
# Where other programs take more than this share of the cores, that is told at once, and no variant is left out.
DISTURBED = 0.05
RESAMPLES = 2000


@dataclass(frozen=True)
class Row:
    """A line of the table. `work` is how PyTorch does it: plain, if, torchvision or evaluation."""

    title: str
    goal: float
    work: str
    arch: str = "resnet20"
    batch: int = 128
    share_of_steps: float = 1.0


ROWS = {
    "plain": Row("ResNet-20, batch 128, plain training step", 1.3, "plain"),
    "if": Row("ResNet-20, batch 128, stochastic, PyTorch skips by a Python `if`", 1.3, "if"),
    "torchvision": Row("ResNet-20, batch 128, stochastic, torchvision's `StochasticDepth`", 1.9, "torchvision"),
    "resnet110": Row("ResNet-110, batch 128, plain training step", 1.3, "plain", "resnet110", share_of_steps=0.25),
    "resnet50": Row("ResNet-50, batch 64, plain training step", 1.1, "plain", "resnet50", 64),
    "evaluation": Row(f"evaluation, ResNet-20, {TEST_IMAGES:,} images", 1.3, "evaluation"),
}


@dataclass(frozen=True)
class Variant:
    """A way to run PyTorch."""

    layout: str
    mode: str
    tf32: bool
    batch: int

    def compile(self, function):
        # Fixed shapes: blocks of other widths would otherwise share a slower graph of variable ones.
        mode = MODES[self.mode]
        return function if mode is None else torch.compile(function, mode=mode, dynamic=False)

    def name(self, row):
        words = [self.mode, self.layout]
        words += ["TF32"] if self.tf32 else []
        words += [f"batch {self.batch}"] if row.work == "evaluation" else []
        return " ".join(words)


def parse_arguments():
    def some_of(known, noun):
        def parse(text):
            unknown = [name for name in text.split(",") if name not in known]
            if unknown:
                raise argparse.ArgumentTypeError(f"no {noun} {unknown[0]!r}; there are {', '.join(known)}")
            return text.split(",")

        return parse

    def count(text):
        if not text.isdecimal() or int(text) == 0:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
        return int(text)

    default_device = "cuda" if torch.cuda.is_available() else "cpu"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    rows = dict(type=some_of(ROWS, "row"), default=list(ROWS), metavar="A,B")
    parser.add_argument("--rows", **rows, help=f"some of {', '.join(ROWS)}")
    modes = dict(type=some_of(MODES, "mode"), default=list(MODES), metavar="A,B")
    parser.add_argument("--modes", **modes, help=f"some of {', '.join(MODES)}")
    parser.add_argument("--rounds", type=count, default=3, help="default: %(default)s")
    parser.add_argument("--steps", type=count, default=12, help="timed steps a round (default 12; fewer on ResNet-110)")
    parser.add_argument("--warmup", type=count, default=2, help="steps before them (default: %(default)s)")
    parser.add_argument("--threads", type=count, default=2, help="of both programs (default: %(default)s)")
    parser.add_argument("--torch-device", choices=["cpu", "cuda"], default=default_device)
    parser.add_argument("--sdgpu-device", help="its --device (default: cpu, or gpu beside CUDA)")
    parser.add_argument("--sdgpu", type=Path, default=Path("target/release/sdgpu"), help="default: %(default)s")
    parser.add_argument("--out", type=Path, help="the Markdown file to write (default: stdout)")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.torch_device == "cuda" and not torch.cuda.is_available():
        parser.error("this PyTorch finds no CUDA device")
    if args.sdgpu_device is None:
        args.sdgpu_device = "gpu" if args.torch_device == "cuda" else "cpu"
    if not args.worker and not args.sdgpu.is_file():
        parser.error(f"there is no {args.sdgpu}; build it, or name it with --sdgpu")
    return args


# The worker: one variant of PyTorch in a process of its own.


def stem(net, x):
    return net.maxpool(F.relu(net.bn1(net.conv1(x)), inplace=True))


def head(net, x):
    return net.fc(x.mean((2, 3)))


def classify_plainly(net, x, variant):
    compute = variant.compile(net)
    return lambda gates: compute(x, gates)


def classify_skipping(net, x, variant):
    """Skips dropped blocks by an `if`. Compiles each block: of the net it would take a graph for every set of gates."""
    blocks = [variant.compile(block) for block in net.blocks]

    def classify(gates):
        y = stem(net, x)
        for block, gate in zip(blocks, gates, strict=True):
            if gate:
                y = block(y, 1)
            elif block.downsample is not None:
                y = block.downsample(y)
        return head(net, y)

    return classify


class ReplayedDepth(nn.Module):
    """torchvision's StochasticDepth in mode "batch", with the recorded gate in the place of its random noise."""

    def __init__(self):
        super().__init__()
        self.register_buffer("noise", torch.ones(1, 1, 1, 1))

    def forward(self, branch):
        return branch * self.noise

    def check(self):
        """Holds it against torchvision's own function, whose draw is certain at these probabilities."""
        from torchvision.ops import stochastic_depth

        x = torch.randn(2, 3, 4, 4)
        for gate, drop_probability in [(1.0, 1e-30), (0.0, 1.0)]:
            self.noise.fill_(gate)
            assert torch.equal(self(x), stochastic_depth(x, drop_probability, "batch"))


def classify_discarding(net, x, variant):
    """Computes every branch, then keeps or discards it."""
    depths = nn.ModuleList(ReplayedDepth() for _ in net.blocks)
    depths[0].check()
    depths.to(x.device)

    def forward(x):
        x = stem(net, x)
        for block, depth in zip(net.blocks, depths, strict=True):
            shortcut = x if block.downsample is None else block.downsample(x)
            x = F.relu(shortcut + depth(block.branch(x)))
        return head(net, x)

    compute = variant.compile(forward)

    def classify(gates):
        for depth, gate in zip(depths, gates, strict=True):
            depth.noise.fill_(gate)
        return compute(x)

    return classify


# By a row's `work`: from a net, a batch and a variant, a function from the blocks' gates to logits.
CLASSIFIERS = {"plain": classify_plainly, "if": classify_skipping, "torchvision": classify_discarding}


def durations(device, calls):
    """Seconds of each call but the first, from the end of the call before to its own end.

    On CUDA the ends are events on the stream, as sdgpu's are reports from its queue: neither waits between steps.
    """
    if device == "cpu":
        ends = []
        for call in calls:
            call()
            ends.append(time.perf_counter())
        return [end - start for start, end in pairwise(ends)]
    torch.cuda.synchronize()
    ends = []
    for call in calls:
        call()
        ends.append(torch.cuda.Event(enable_timing=True))
        ends[-1].record()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) / 1000 for start, end in pairwise(ends)]


def captured(step):
    """`step`, which does the same each time, as one CUDA graph: what it costs without its launches by the host."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return lambda gates: graph.replay()


def training_seconds(args, row, variant, net, sequence):
    """Seconds of each step after the warm-up; `sequence` has a list of gates for every step, warm-up included."""
    options = dict(device=args.torch_device)
    x = torch.randn(row.batch, 1, SIDE, SIDE, **options).to(memory_format=LAYOUTS[variant.layout])
    labels = torch.randint(CLASSES, (row.batch,), **options)
    classify = CLASSIFIERS[row.work](net, x, variant)
    optimizer = torch.optim.Adam(net.parameters(), fused=True, capturable=variant.mode == GRAPH)

    def step(gates):
        optimizer.zero_grad()
        F.cross_entropy(classify(gates), labels).backward()
        optimizer.step()

    if variant.mode == GRAPH:
        step = captured(partial(step, sequence[0]))
    # The first step has all blocks, so that whatever is compiled is compiled before the first that counts.
    steps = [[1] * len(net.blocks), *sequence]
    return durations(args.torch_device, [partial(step, gates) for gates in steps])[args.warmup :]


def evaluation_seconds(args, variant, net):
    """Seconds of one pass over the test images, with loss and accuracy, after some batches of warm-up."""
    options = dict(device=args.torch_device)
    images = torch.randn(TEST_IMAGES, 1, SIDE, SIDE, **options).to(memory_format=LAYOUTS[variant.layout])
    labels = torch.randint(CLASSES, (TEST_IMAGES,), **options)
    net.eval()
    compute = variant.compile(net)
    all_on = [1] * len(net.blocks)

    def evaluate(count):
        loss, correct = torch.zeros((), **options), torch.zeros((), dtype=torch.long, **options)
        for start in range(0, count, variant.batch):
            rows = slice(start, start + variant.batch)
            logits = compute(images[rows], all_on)
            loss += F.cross_entropy(logits, labels[rows], reduction="sum")
            correct += (logits.argmax(1) == labels[rows]).sum()
        return loss.item(), correct.item()

    with torch.inference_mode():
        return durations(args.torch_device, [partial(evaluate, count) for count in (2 * variant.batch, TEST_IMAGES)])


def work(args):
    """Prints the seconds of what --worker describes."""
    row, variant = ROWS[args.worker["row"]], Variant(**args.worker["variant"])
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = variant.tf32
    torch.backends.cudnn.allow_tf32 = variant.tf32
    net = ResNet(ARCHITECTURES[row.arch]).to(args.torch_device, memory_format=LAYOUTS[variant.layout])
    if row.work == "evaluation":
        seconds = evaluation_seconds(args, variant, net)
    else:
        sequence = [[int(gate) for gate in gates] for gates in args.worker["gates"]]
        seconds = training_seconds(args, row, variant, net, sequence)
    print(json.dumps(seconds))


# The parent: rounds and figures.


def pytorch_round(args, key, variant, gates):
    """Seconds of each timed step in a process of its own, which is called with this one's arguments."""
    job = json.dumps(dict(row=key, variant=asdict(variant), gates=gates))
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", job]
    return json.loads(subprocess.check_output(command))


def write_images(folder, train, test):
    """A data set of random images in the four IDX files. What a step costs does not depend on the pixels."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name, count in [("train", train), ("t10k", test)]:
        pixels = generator.integers(256, size=(count, SIDE, SIDE), dtype=np.uint8)
        labels = np.arange(count, dtype=np.int64).astype(np.uint8) % CLASSES
        for kind, array in [("images-idx3-ubyte", pixels), ("labels-idx1-ubyte", labels)]:
            header = np.array([0x800 + array.ndim, *array.shape], dtype=">u4").tobytes()
            (folder / f"{name}-{kind}").write_bytes(header + array.tobytes())


class Sdgpu:
    """The other program, with a data set and weights to evaluate in a folder that goes with the script."""

    def __init__(self, args, folder):
        self.args = args
        self.folder = folder
        write_images(folder / "training", 60_000, CLASSES)
        write_images(folder / "test", 1000, TEST_IMAGES)

    def run(self, *arguments):
        command = [self.args.sdgpu, *arguments, f"--device={self.args.sdgpu_device}"]
        environment = os.environ | {"RAYON_NUM_THREADS": str(self.args.threads)}
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout

    def train(self, name, row, steps, seed, validation):
        """Runs that many steps and returns the run directory."""
        run = self.folder / name
        model = "resnet" if row.work in ("plain", "evaluation") else "stochastic"
        options = dict(model=model, arch=row.arch, data=self.folder / "training", validation=validation, out=run)
        options |= {"batch-size": row.batch, "steps": steps, "seed": seed}
        if model == "stochastic":
            options |= {"survival": "linear", "survival-last": P_LAST}
        self.run("train", "--quiet", *(f"--{name}={value}" for name, value in options.items()))
        return run

    def training_round(self, key, round_, steps):
        """Seconds of each timed step, and the gates of all steps, the warm-up's first."""
        run = self.train(f"{key}-{round_}", ROWS[key], self.args.warmup + steps, round_, 0)
        timing, metrics = [
            [json.loads(line) for line in (run / f"{name}.jsonl").read_text().splitlines()]
            for name in ("timing", "metrics")
        ]
        seconds = [line["seconds"] for line in timing]
        return seconds[self.args.warmup :], [line["gates"] for line in metrics if line["kind"] == "train"]

    def evaluation_round(self):
        """Seconds of a pass over the test images, and no gates. A run has two files of weights: one to warm up."""
        run = self.folder / "evaluation"
        if not run.exists():
            self.train("evaluation", ROWS["evaluation"], 1, 0, validation=CLASSES)
        lines = self.run("eval", run, "--json", f"--data={self.folder / 'test'}").splitlines()
        _, pass_ = [json.loads(line) for line in lines]
        return [pass_["seconds"]], None


def variants(args, row):
    cuda = args.torch_device == "cuda"
    modes = args.modes
    # Gates change from step to step: they are Python's, or filled in by it.
    if not cuda or row.work != "plain":
        modes = [mode for mode in modes if mode != GRAPH]
    # These graphs are recorded for each sequence of blocks.
    if not cuda or row.work == "if":
        modes = [mode for mode in modes if mode != COMPILED_GRAPHS]
    batches = EVALUATION_BATCHES if row.work == "evaluation" else [row.batch]
    return [Variant(*values) for values in product(LAYOUTS, modes, [False, True] if cuda else [False], batches)]


@dataclass
class Round:
    """Seconds of each timed step, and the share of the machine's cores that other programs took meanwhile."""

    seconds: list
    others: float


def cpu_seconds():
    """What the whole machine has computed, and what the processes started here have: 0 where Linux doesn't say it."""
    try:
        user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    except OSError:
        return 0.0, 0.0
    ours = resource.getrusage(resource.RUSAGE_CHILDREN)
    machine = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return machine, ours.ru_utime + ours.ru_stime


def watched(run, *arguments):
    """What `run` returns, and the share of the cores that others took meanwhile."""
    start, (machine, ours) = time.perf_counter(), cpu_seconds()
    result = run(*arguments)
    machine_after, ours_after = cpu_seconds()
    available = (time.perf_counter() - start) * os.cpu_count()
    return result, max(0.0, (machine_after - machine) - (ours_after - ours)) / available


def pooled_median(rounds):
    return statistics.median(second for round_ in rounds for second in round_.seconds)


def measure(args, key, sdgpu):
    """The rounds of each program: of "sdgpu", and of the variants of PyTorch."""
    row = ROWS[key]
    rounds = {"sdgpu": [], **{variant: [] for variant in variants(args, row)}}
    running = list(rounds)[1:]

    def note(program, name, seconds, others):
        rounds[program].append(Round(seconds, others))
        progress = f"{key}, round {len(rounds['sdgpu'])} of {args.rounds}: {name}"
        disturbed = f" (others took {others:.0%} of the cores)" if others > DISTURBED else ""
        print(f"{progress} {1000 * statistics.median(seconds):.1f} ms{disturbed}", file=sys.stderr)

    for number in range(args.rounds):
        if row.work == "evaluation":
            (seconds, gates), others = watched(sdgpu.evaluation_round)
        else:
            steps = max(1, round(args.steps * row.share_of_steps))
            (seconds, gates), others = watched(sdgpu.training_round, key, number, steps)
        note("sdgpu", "sdgpu", seconds, others)
        for variant in running:
            note(variant, variant.name(row), *watched(pytorch_round, args, key, variant, gates))
        fastest = {variant: min(min(round_.seconds) for round_ in rounds[variant]) for variant in running}
        best = {tf32: min(t for v, t in fastest.items() if v.tf32 == tf32) for tf32 in {v.tf32 for v in running}}
        if all(rounds[variant][-1].others <= DISTURBED for variant in running):
            running = [variant for variant in running if fastest[variant] <= HOPELESS * best[variant.tf32]]
    return rounds


def interval(ours, theirs):
    """95 % bootstrap interval of the ratio of pooled medians, over rounds."""
    source = random.Random(0)
    ratios = []
    for _ in range(RESAMPLES):
        chosen = source.choices(range(len(ours)), k=len(ours))
        ratios.append(pooled_median([theirs[i] for i in chosen]) / pooled_median([ours[i] for i in chosen]))
    ratios.sort()
    return ratios[round(0.025 * RESAMPLES)], ratios[round(0.975 * RESAMPLES) - 1]


def ratio_lines(row, rounds):
    """The row's line of the table, and another one for TF32 if that was measured."""
    ours = rounds["sdgpu"]
    for tf32 in sorted({variant.tf32 for variant in rounds if variant != "sdgpu"}):
        complete = {v: r for v, r in rounds.items() if v != "sdgpu" and v.tf32 == tf32 and len(r) == len(ours)}
        best, theirs = min(complete.items(), key=lambda item: pooled_median(item[1]))
        low, high = interval(ours, theirs)
        ratio, goal = pooled_median(theirs) / pooled_median(ours), "-" if tf32 else row.goal
        title = row.title + (", TF32 in PyTorch" if tf32 else "")
        times = f"{1000 * pooled_median(ours):.1f} ms | {1000 * pooled_median(theirs):.1f} ms, {best.name(row)}"
        yield f"| {title} | {goal} | **{ratio:.2f}** | {low:.2f} to {high:.2f} | {times} |"


def detail_lines(row, rounds):
    """A line for each program: the quartiles of its steps."""
    for program, its in rounds.items():
        name = program if program == "sdgpu" else f"PyTorch {program.name(row)}"
        times = [1000 * second for round_ in its for second in round_.seconds]
        low, middle, high = statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else times * 3
        images = TEST_IMAGES if row.work == "evaluation" else row.batch
        figures = f"{low:.1f} | {middle:.1f} | {high:.1f} | {1000 * images / middle:.0f}"
        yield f"| {row.title} | {name} | {len(its)} | {figures} | {max(round_.others for round_ in its):.0%} |"


def machine(args):
    """The processor, how much of it is here, the system, and the GPU if it is used."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    parts = [names[0] if names else platform.processor(), f"{os.cpu_count()} logical cores", platform.system()]
    return parts + ([torch.cuda.get_device_name()] if args.torch_device == "cuda" else [])


NOTES = f"""
## What is timed

- A training step is forward, loss, backward and Adam (`fused=True` in PyTorch), from the end of the step before.
  PyTorch's batch lies in memory, normalised; sdgpu gathers its own from the data set's bytes and normalises it within
  the step.
- Gates: survival falls linearly to {P_LAST} at the last block. In each round sdgpu draws them from another seed and
  records them in `metrics.jsonl`, and PyTorch replays exactly these, warm-up included.
- The Python `if` does not run a dropped block at all. Compiled, there each block is a graph and the `if` stands between
  them, as a graph of the whole net would be compiled anew for every set of gates. PyTorch's Adam leaves the parameters
  of a dropped block alone; sdgpu's, by default, moves them on, as the paper does.
- torchvision's `StochasticDepth` in mode "batch" computes each branch and multiplies it by noise of one element. Its
  draw is replaced by the recorded gate; what remains is checked against torchvision's own function.
- Evaluation: a pass over {TEST_IMAGES:,} images, with loss and accuracy, after a warm-up. PyTorch: under
  `inference_mode`, in batches of {", ".join(map(str, EVALUATION_BATCHES))}. sdgpu: what `sdgpu eval --json` reports, in
  batches of 250, its default.
- Compiling (`torch.compile`, default mode, fixed shapes) and starting are outside of all times.
- Of each program the median counts, over the steps of all rounds, and of PyTorch the best variant. The interval is a
  bootstrap over the rounds; with few rounds it spans little more than their own ratios. A variant of PyTorch is left
  out once its fastest step takes more than {HOPELESS} times as long as that of the fastest variant, if no other
  program took more than {DISTURBED:.0%} of the cores in the round that shows it.
"""
CUDA_NOTES = """
- On CUDA a step's time is that between events at the ends of steps, and in sdgpu that between their reports: neither
  program waits for the GPU between steps. PyTorch computes in f32, TF32 off, except where a row says otherwise.
"""


def report(args, results, sdgpu_version):
    command = shlex.join([f"scripts/{Path(__file__).name}", *sys.argv[1:]])
    versions = [f"{sdgpu_version} on {args.sdgpu_device}", f"PyTorch {torch.__version__} on {args.torch_device}"]
    if "torchvision" in args.rows:
        versions.append(f"torchvision {metadata.version('torchvision')}")
    lines = [
        "# sdgpu beside PyTorch",
        "",
        f"{', '.join(machine(args))}. {', '.join(versions)}, Python {platform.python_version()}.",
        f"{datetime.date.today()}, `{command}`",
        "",
        f"| work ({SIDE}x{SIDE}x1, {args.threads} threads) | goal | PyTorch's time / sdgpu's | 95 % interval | sdgpu "
        "| PyTorch's best |",
        "|---|---|---|---|---|---|",
        *(line for key, rounds in results.items() for line in ratio_lines(ROWS[key], rounds)),
        "",
        "## Every variant",
        "",
        "Milliseconds of a step or of a pass over the test images; images a second; the largest share of the cores",
        "that other programs took during a round, which need not slow both programs alike: a table counts only where",
        "it is near zero. (In the first call, helpers of `torch.compile` count as others.)",
        "",
        "| work | program | rounds | lower quartile | median | upper quartile | images/s | others |",
        "|---|---|---|---|---|---|---|---|",
        *(line for key, rounds in results.items() for line in detail_lines(ROWS[key], rounds)),
        "",
        NOTES.strip(),
        *([CUDA_NOTES.strip()] if args.torch_device == "cuda" else []),
    ]
    return "\n".join(lines) + "\n"


def main():
    args = parse_arguments()
    if args.worker:
        work(args)
        return
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        sdgpu = Sdgpu(args, Path(folder))
        version = subprocess.check_output([args.sdgpu, "--version"], text=True).strip()
        for key in args.rows:
            results[key] = measure(args, key, sdgpu)
            text = report(args, results, version)
            # After every row, so that what was measured survives what comes after it.
            if args.out:
                args.out.write_text(text)
    if not args.out:
        print(text, end="")


if __name__ == "__main__":
    main()
