#!/usr/bin/env python3
"""Prints the tables of docs/experiments/README.md from the raw files of the runs.

    scripts/experiment-tables.py                     all experiments, unpacked from the repository's history
    scripts/experiment-tables.py FOLDER gates sweep  those, from a folder that experiments.sh made or unpacked

Nets are compared seed by seed: intervals are Student's, 95 %, of the mean difference. Needs numpy.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import numpy as np

EXPERIMENTS = Path(__file__).resolve().parent / "experiments.sh"
# Student's 97.5 % quantile, by degrees of freedom.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


class Run:
    """What a run's folder tells."""

    def __init__(self, folder):
        self.name = folder.name
        self.settings = tomllib.loads((folder / "config.toml").read_text())["settings"]
        self.summary = json.loads((folder / "summary.json").read_text())
        metrics = lines(folder / "metrics.jsonl")
        self.steps = [line for line in metrics if line["kind"] == "train"]
        self.evaluations = [line for line in metrics if line["kind"] == "eval" and "weights" not in line]
        self.seconds = np.array([line["seconds"] for line in lines(folder / "timing.jsonl")])

    def of(self, split):
        """Steps and accuracies of the evaluations on `split`."""
        found = {line["step"]: line["accuracy"] for line in self.evaluations if line["split"] == split}
        return np.array(list(found)), np.array(list(found.values()))

    def second_half(self, split):
        """Mean accuracy over the second half of the run, in per cent."""
        steps, accuracies = self.of(split)
        return 100 * accuracies[steps > self.settings["steps"] / 2].mean()

    def accuracy(self):
        """Of the last weights on all test images, in per cent."""
        return 100 * self.summary["test"]["accuracy"]

    def gates(self):
        """[steps, blocks], 1 where the block ran."""
        return np.array([[int(gate) for gate in step["gates"]] for step in self.steps])


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def variance(steps, values):
    """Variance about the lines of up to ten windows, the first fifth left out, as `sdgpu report` has it."""
    left = len(values) - -(-len(values) // 5)
    windows = min(max(left // 5, 5), 10)
    length = left // windows
    if length < 5:
        return np.nan
    parts = []
    for window in range(windows):
        end = len(values) - (windows - 1 - window) * length
        x, y = steps[end - length : end], values[end - length : end]
        residuals = y - np.polyval(np.polyfit(x, y, 1), x)
        parts.append((residuals**2).sum() / (length - 2))
    return np.mean(parts)


def difference(values, digits=2):
    """Mean of paired differences and its interval."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return f"{values.mean():+.{digits}f} (one pair)"
    half = STUDENT[len(values) - 1] * values.std(ddof=1) / len(values) ** 0.5
    mean = values.mean()
    return f"{mean:+.{digits}f} ({mean - half:+.{digits}f} to {mean + half:+.{digits}f})"


def ratio(values):
    """Geometric mean of ratios and its interval."""
    logs = np.log(values)
    if len(logs) < 2:
        return f"{np.exp(logs.mean()):.2f} (one pair)"
    half = STUDENT[len(logs) - 1] * logs.std(ddof=1) / len(logs) ** 0.5
    return f"{np.exp(logs.mean()):.2f} ({np.exp(logs.mean() - half):.2f} to {np.exp(logs.mean() + half):.2f})"


def table(header, rows):
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")


def by_seed(runs, **settings):
    """The runs with these settings, by their seeds."""
    key = {name.replace("_", "-"): value for name, value in settings.items()}
    chosen = [run for run in runs if all(run.settings[name] == value for name, value in key.items())]
    return {run.settings["seed"]: run for run in chosen}


def paired(a, b, measure):
    """`measure` of each run of both, by the seeds that both have."""
    seeds = sorted(a.keys() & b.keys())
    return np.array([measure(a[seed]) for seed in seeds]), np.array([measure(b[seed]) for seed in seeds])


def depth(runs):
    rows = []
    for run in sorted(runs, key=lambda run: (len(run.steps[0]["gates"]), run.settings["model"])):
        gradients = np.array([step["first_gradient"] for step in run.steps])
        parts = [f"{gradients[part].mean():.4f}" for part in (slice(0, 20), slice(100, 200), slice(300, 400))]
        blocks = f"{100 * run.gates().mean():.1f} %"
        rows.append([run.name, f"{run.accuracy():.2f} %", blocks, f"{np.median(run.seconds):.3f} s", *parts])
    table(["net", "accuracy", "blocks run", "step, median", "gradient, steps 1-20", "101-200", "301-400"], rows)


def thresholds(runs):
    rows = []
    for run in sorted(runs, key=lambda run: (run.settings["model"] == "resnet", run.settings["survival-last"])):
        plain = run.settings["model"] == "resnet"
        deviation = 100 * variance(*run.of("test-batch")) ** 0.5
        rows.append(
            [
                "plain" if plain else f"{run.settings['survival-last']}",
                f"{run.accuracy():.2f} %",
                f"{run.second_half('test-batch'):.2f} %",
                f"{deviation:.2f}",
                f"{100 * run.gates().mean():.1f} %",
            ]
        )
    tests = ["last weights, all test images", "test batches, second half", "deviation about windows' lines (points)"]
    table(["p_L", *tests, "blocks run"], rows)


def statistics(runs):
    def cell(model, batches):
        return by_seed(runs, model=model, bn_recalibrate=batches)

    measures = {
        "last weights, all test images (%)": (Run.accuracy, 2),
        "test batches, second half (%)": (lambda run: run.second_half("test-batch"), 2),
        "variance of the test batches (points²)": (lambda run: 1e4 * variance(*run.of("test-batch")), 2),
    }
    batches = sorted({run.settings["bn-recalibrate"] for run in runs})
    batches = [count for count in batches if cell("resnet", count).keys() & cell("stochastic", count).keys()]
    rows = []
    for name, (measure, digits) in measures.items():
        effects = []
        for count in batches:
            plain, stochastic = paired(cell("resnet", count), cell("stochastic", count), measure)
            effects.append(stochastic - plain)
            statistics = f"from {count} batches" if count else "running"
            rows.append([name, statistics, f"{plain.mean():.{digits}f}", f"{stochastic.mean():.{digits}f}"])
            rows[-1].append(difference(effects[-1], digits))
        if len(effects) == 2:
            seeds = min(len(effect) for effect in effects)
            rows.append([name, "their difference", "", "", difference(effects[1][:seeds] - effects[0][:seeds], digits)])
    table(["", "statistics", "plain", "stochastic", "stochastic - plain"], rows)


def gates(runs):
    independent, systematic = (by_seed(runs, gate_sampling=rule) for rule in ("independent", "systematic"))
    loss = lambda run: np.array([step["loss"] for step in run.steps])  # noqa: E731
    numbers = lambda run: np.arange(len(run.steps))  # noqa: E731
    measures = {
        "last weights, all test images (%)": (Run.accuracy, difference),
        "loss on them": (lambda run: run.summary["test"]["loss"], difference),
        "variance of the loss of a step": (lambda run: variance(numbers(run), loss(run)), ratio),
        "variance of the validation accuracy": (lambda run: variance(*run.of("validation")), ratio),
        "deviation of the blocks run in a step": (lambda run: run.gates().sum(1).std(), ratio),
    }
    rows = []
    for name, (measure, compare) in measures.items():
        a, b = paired(independent, systematic, measure)
        how = compare(b - a) if compare is difference else f"{compare(b / a)} times"
        rows.append([name, f"{a.mean():.4g}", f"{b.mean():.4g}", how])
    table(["", "independent", "systematic", "systematic against independent"], rows)


def nets(runs):
    plain, stochastic = (by_seed(runs, model=model) for model in ("resnet", "stochastic"))
    measures = {
        "last weights, all test images (%)": (Run.accuracy, 2, difference),
        "loss on them": (lambda run: run.summary["test"]["loss"], 4, difference),
        "best weights on validation, all test images (%)": (
            lambda run: 100 * run.summary["best"]["accuracy"],
            2,
            difference,
        ),
        "variance of the validation accuracy (points²)": (lambda run: 1e4 * variance(*run.of("validation")), 3, ratio),
        "blocks run (%)": (lambda run: 100 * run.gates().mean(), 1, difference),
        "time in steps (s)": (lambda run: run.seconds.sum(), 0, ratio),
    }
    rows = []
    for name, (measure, digits, compare) in measures.items():
        a, b = paired(plain, stochastic, measure)
        # Few evaluations say nothing about a variance.
        if len(a) and not np.isnan(a).any():
            how = compare(b - a, digits) if compare is difference else f"{compare(b / a)} times"
            rows.append([name, f"{a.mean():.{digits}f}", f"{b.mean():.{digits}f}", how])
    table(["", "plain", "stochastic", "stochastic against plain"], rows)


def sweep(runs):
    last = sorted({run.settings["survival-last"] for run in runs})
    rows = []
    for rule in ("linear", "uniform"):
        cells = [[run.accuracy() for run in by_seed(runs, survival_last=p, survival=rule).values()] for p in last]
        # With p_L = 1 there is one net, whatever the rule.
        certain = [run.accuracy() for run in runs if run.settings["survival-last"] == 1.0]
        cells = [certain if p == 1.0 else cell for p, cell in zip(last, cells)]
        rows.append([f"{rule} rule"] + [" / ".join(f"{100 - accuracy:.2f}" for accuracy in cell) for cell in cells])
    table(["test error (%), a figure a seed", *(f"p_L = {p:g}" for p in last)], rows)


TABLES = dict(depth=depth, thresholds=thresholds, statistics=statistics, gates=gates, sweep=sweep)
TABLES |= dict(mnist=nets, fashion=nets, longer=nets)


def print_tables(folder, names):
    for name in names:
        runs = [Run(path.parent) for path in sorted((folder / name).glob("*/summary.json"))]
        print(f"\n{name}, {len(runs)} runs\n")
        TABLES[name](runs)


def main():
    for name in sys.argv[2:]:
        if name not in TABLES:
            sys.exit(f"experiment-tables.py: there is no table of {name}; there are: {' '.join(TABLES)}")
    if len(sys.argv) > 1:
        folder = Path(sys.argv[1])
        print_tables(folder, sys.argv[2:] or [name for name in TABLES if (folder / name).is_dir()])
        return
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run([EXPERIMENTS, "--unpack", folder, *TABLES]).returncode != 0:
            sys.exit("experiment-tables.py: without the raw runs there are no tables")
        print_tables(Path(folder), TABLES)


if __name__ == "__main__":
    main()
