#!/usr/bin/env python3
"""Writes tests/golden/statistics.json: what pandas, SciPy, NumPy, statsmodels and arch make of small series, which
judges the statistics of src/report.

    python3 scripts/statistics-goldens.py

Writes the same bytes each time (pandas 3.1.1, SciPy 1.17.1, NumPy 2.4.6, statsmodels 0.15.0, arch 8.0.0; other versions
may round the last bit differently).
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from arch.bootstrap import MovingBlockBootstrap, optimal_block_length
from scipy import stats
from statsmodels.stats.multitest import multipletests

GOLDENS = Path(__file__).resolve().parent.parent / "tests" / "golden" / "statistics.json"
IMAGES, POPULATION = 400, 10_000  # of a test batch, of the test set
WINDOWS = 10


def autoregressive(rng, count, memory):
    """x_t = memory x_(t-1) + noise, rounded so that the file stays small."""
    values = [0.0]
    for noise in rng.standard_normal(count):
        values.append(memory * values[-1] + noise)
    return np.round(values[1:], 3)


def correct_counts(rng, count):
    """Correct predictions of two nets on the same `count` test batches: a learning curve, what both see in a batch, and
    noise of each net's own, which in the second is larger for some tests on end."""
    time = np.arange(count)
    common = 1.6 * rng.standard_normal(count)
    curves = [394 - 60 * np.exp(-time / 25), 393 - 70 * np.exp(-time / 35)]
    loudness = np.exp(0.4 * autoregressive(rng, count, 0.8))
    own = [rng.standard_normal(count), loudness * rng.standard_normal(count)]
    return [np.clip(np.rint(curve + common + noise), 0, 400).astype(int) for curve, noise in zip(curves, own)]


def smoothing(rng):
    values = np.round(rng.uniform(size=40), 3)
    smoothed = {span: pd.Series(values).ewm(span=span, adjust=False).mean().tolist() for span in (1, 5, 20)}
    return {"values": values.tolist(), "smoothed": smoothed}


def student():
    """Interval and p value of a mean and its standard error, by degrees of freedom."""
    cases = []
    for freedom in (1, 2, 3, 4, 8, 9, 30, 250):
        for value, error in ((0.5, 0.25), (-1.0, 0.3), (0.01, 1.0)):
            low, high = stats.t.interval(0.95, freedom, value, error)
            p_value = 2 * stats.t.sf(abs(value / error), freedom)
            cases.append({"freedom": freedom, "value": value, "error": error, "expected": [low, high, p_value]})
    return cases


def paired(rng):
    cases = []
    for count in (2, 5, 12):
        baseline, candidate = (np.round(rng.normal(mean, 0.3, count), 3) for mean in (98.5, 98.8))
        result = stats.ttest_rel(candidate, baseline)
        interval = result.confidence_interval(0.95)
        expected = [(candidate - baseline).mean(), interval.low, interval.high, result.pvalue]
        cases.append({"baseline": baseline.tolist(), "candidate": candidate.tolist(), "expected": expected})
    return cases


def holm():
    families = [[0.01, 0.04, 0.03, 0.005], [0.2, 0.01, 0.01, 0.9], [0.5, 0.6, 0.7, 0.04], [0.0, 1.0, 0.013, 0.012]]
    return [{"p_values": family, "corrected": multipletests(family, method="holm")[1].tolist()} for family in families]


def sampling():
    """Variance of a share in a sample without replacement, from the hypergeometric distribution."""
    cases = [(IMAGES, POPULATION, 9_900), (IMAGES, POPULATION, 5_000), (100, 250, 200)]
    return [
        {"images": n, "population": N, "correct": K, "variance": stats.hypergeom(N, K, n).var() / n**2}
        for n, N, K in cases
    ]


def line(x, y):
    fit = stats.linregress(x, y)
    half = stats.t.ppf(0.975, len(x) - 2) * fit.stderr
    return [fit.slope, fit.slope - half, fit.slope + half, fit.pvalue]


def cut(steps, accuracies):
    """The windows of the last four fifths of a run."""
    length = (len(steps) - -(-len(steps) // 5)) // WINDOWS
    for first in range(len(steps) - WINDOWS * length, len(steps), length):
        yield steps[first : first + length], accuracies[first : first + length]


def windows(steps, accuracies):
    """Mean, variance about a line and sampling's share of it in each window, and slopes over the windows."""
    rows, middles = [], []
    for x, y in cut(steps, accuracies):
        _, (squares,), *_ = np.polyfit(x - x.mean(), y, 1, full=True)
        m = y.mean()
        sampled = m * (1 - m) / IMAGES * (POPULATION - IMAGES) / (POPULATION - 1)
        rows.append([m, squares / (len(x) - 2), sampled])
        middles.append((x[0] + x[-1]) / 2)
    _, in_all, sampled = np.transpose(rows)
    return {
        "windows": rows,
        "slope_in_all": line(middles, in_all),
        "slope_beyond_sampling": line(middles, in_all - sampled),
    }


def squared_deviations(steps, accuracies):
    """Squared distances from the windows' lines, as estimates of the variance."""
    parts = [(x, y, np.polyval(np.polyfit(x, y, 1), x)) for x, y in cut(steps, accuracies)]
    return np.concatenate([(y - fitted) ** 2 * len(x) / (len(x) - 2) for x, y, fitted in parts])


def comparison(rng):
    """Two nets on the same test batches: their windows, the block length, and the bootstrap of their variances."""
    counts = correct_counts(rng, 260)
    steps = 5 * np.arange(1, 261)
    nets = [windows(steps, of_net / IMAGES) for of_net in counts]
    baseline, candidate = (squared_deviations(steps, of_net / IMAGES) for of_net in counts)
    best = optimal_block_length(candidate - baseline)["circular"].item()
    block = int(np.ceil(best))

    def figures(baseline, candidate):
        return np.array([candidate.mean() / baseline.mean(), candidate.mean() - baseline.mean()])

    bootstrap = MovingBlockBootstrap(block, baseline, candidate, seed=1)
    low, high = bootstrap.conf_int(figures, reps=20_000, method="percentile")
    value = figures(baseline, candidate)
    return {
        "images": IMAGES,
        "population": POPULATION,
        "steps": steps.tolist(),
        "correct": [of_net.tolist() for of_net in counts],
        "nets": nets,
        "block_length": best,
        "ratio": [value[0], low[0], high[0]],
        "difference": [value[1], low[1], high[1]],
    }


def block_lengths(rng):
    cases = []
    for count, memory in ((12, 0.0), (50, 0.0), (50, 0.7), (250, 0.0), (250, 0.4), (250, 0.95), (250, -0.5)):
        values = autoregressive(rng, count, memory)
        cases.append({"values": values.tolist(), "length": optimal_block_length(values)["circular"].item()})
    return cases


def main():
    rng = np.random.default_rng(6)
    goldens = {
        "smoothing": smoothing(rng),
        "student": student(),
        "paired": paired(rng),
        "holm": holm(),
        "sampling": sampling(),
        "block_lengths": block_lengths(rng),
        "comparison": comparison(rng),
    }
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in goldens.items())
    GOLDENS.write_text(f"{{\n{lines}\n}}\n")
    print(f"{GOLDENS.stat().st_size:7} bytes  {GOLDENS.name}")


if __name__ == "__main__":
    main()
