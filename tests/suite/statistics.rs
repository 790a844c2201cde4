//! The statistics of reports against pandas, SciPy, NumPy, statsmodels and arch: `scripts/statistics-goldens.py`.

use std::collections::BTreeMap;

use sdgpu::internals::report::statistics::bootstrap::block_length;
use sdgpu::internals::report::statistics::estimate::Estimate;
use sdgpu::internals::report::statistics::paired::{holm, mean_difference};
use sdgpu::internals::report::statistics::smoothing::exponentially_weighted_mean;
use sdgpu::internals::report::variance::{Basis, NetPairFindings, PairedTests, Sample};
use serde::Deserialize;

#[derive(Deserialize)]
struct Goldens {
    smoothing: Smoothing,
    student: Vec<Student>,
    paired: Vec<Paired>,
    holm: Vec<Holm>,
    sampling: Vec<Sampling>,
    block_lengths: Vec<BlockLength>,
    comparison: Comparison,
}

#[derive(Deserialize)]
struct Smoothing {
    values: Vec<f64>,
    smoothed: BTreeMap<String, Vec<f64>>,
}

#[derive(Deserialize)]
struct Student {
    freedom: usize,
    value: f64,
    error: f64,
    expected: [f64; 3],
}

#[derive(Deserialize)]
struct Paired {
    baseline: Vec<f64>,
    candidate: Vec<f64>,
    expected: [f64; 4],
}

#[derive(Deserialize)]
struct Holm {
    p_values: [f64; 4],
    corrected: [f64; 4],
}

#[derive(Deserialize)]
struct Sampling {
    images: usize,
    population: usize,
    correct: u32,
    variance: f64,
}

#[derive(Deserialize)]
struct BlockLength {
    values: Vec<f64>,
    length: f64,
}

#[derive(Deserialize)]
struct Comparison {
    images: usize,
    population: usize,
    steps: Vec<u64>,
    correct: [Vec<u32>; 2],
    nets: [Net; 2],
    block_length: f64,
    ratio: [f64; 3],
    difference: [f64; 3],
}

/// Of one net: mean accuracy, variance in all and by sampling in each window.
#[derive(Deserialize)]
struct Net {
    windows: Vec<[f64; 3]>,
    slope_in_all: [f64; 4],
    slope_beyond_sampling: [f64; 4],
}

fn goldens() -> Goldens {
    serde_json::from_str(include_str!("../golden/statistics.json")).expect("goldens")
}

/// Within 1e-9 of the larger one of `expected` and `scale`.
#[track_caller]
fn assert_near(actual: f64, expected: f64, scale: f64) {
    let bound = 1e-9 * expected.abs().max(scale);
    assert!((actual - expected).abs() <= bound, "{actual:e}, expected {expected:e}");
}

/// Value, interval and p value.
#[track_caller]
fn assert_estimate(actual: &Estimate, expected: [f64; 4]) {
    let [value, low, high, p_value] = expected;
    let width = high - low;
    for (actual, expected) in [(actual.value, value), (actual.low, low), (actual.high, high)] {
        assert_near(actual, expected, width);
    }
    assert_near(actual.p_value, p_value, 0.0);
}

#[test]
fn smoothing_is_that_of_pandas() {
    let Smoothing { values, smoothed } = goldens().smoothing;
    assert_eq!(smoothed.len(), 3);
    for (span, expected) in smoothed {
        let actual = exponentially_weighted_mean(&values, span.parse().expect("a number"));
        assert_eq!(actual.len(), expected.len());
        actual.iter().zip(expected).for_each(|(&actual, expected)| assert_near(actual, expected, 0.0));
    }
}

#[test]
fn intervals_and_p_values_are_those_of_scipy() {
    for Student { freedom, value, error, expected: [low, high, p_value] } in goldens().student {
        let actual = Estimate::student(value, error, freedom).expect("an estimate");
        assert_estimate(&actual, [value, low, high, p_value]);
    }
    for Paired { baseline, candidate, expected } in goldens().paired {
        let differences: Vec<f64> = baseline.iter().zip(candidate).map(|(b, c)| c - b).collect();
        assert_estimate(&mean_difference(&differences).expect("an estimate"), expected);
    }
}

#[test]
fn corrected_p_values_are_those_of_statsmodels() {
    for Holm { mut p_values, corrected } in goldens().holm {
        holm(&mut p_values);
        p_values.iter().zip(corrected).for_each(|(&actual, expected)| assert_near(actual, expected, 0.0));
    }
}

#[test]
fn the_variance_of_a_sample_is_the_hypergeometric_counts() {
    for Sampling { images, population, correct, variance } in goldens().sampling {
        let accuracy = f64::from(correct) / population as f64;
        assert_near(Sample { images, population }.variance(accuracy), variance, 0.0);
    }
}

#[test]
fn block_lengths_are_those_of_arch() {
    for BlockLength { values, length } in goldens().block_lengths {
        assert_near(block_length(&values), length, 0.0);
    }
}

#[test]
fn a_comparison_is_that_of_numpy_scipy_and_arch() {
    let Comparison { images, population, steps, correct, nets, block_length, ratio, difference } = goldens().comparison;
    let accuracies = |test: usize| [0, 1].map(|net| f64::from(correct[net][test]) / images as f64);
    let tests = steps.iter().enumerate().map(|(test, &step)| (step, accuracies(test))).collect();
    let tests = [PairedTests { seed: 0, tests }];
    let findings = NetPairFindings::of("test accuracy", ["a", "b"], &tests, Sample { images, population });
    let [pair] = &findings.expect("findings").pairs[..] else { panic!("one pair") };
    for (actual, expected) in pair.windows.iter().zip(&nets) {
        assert_eq!(actual.len(), expected.windows.len());
        for (actual, &[accuracy, in_all, sampling]) in actual.iter().zip(&expected.windows) {
            assert_near(actual.accuracy, accuracy, 0.0);
            assert_near(actual.variance.in_all, in_all, 0.0);
            assert_near(actual.variance.sampling, sampling, 0.0);
        }
    }
    for (actual, expected) in pair.findings.trends.iter().zip(&nets) {
        assert_estimate(&actual.in_all, expected.slope_in_all);
        assert_estimate(&actual.beyond_sampling, expected.slope_beyond_sampling);
    }
    let [ratio_p, beyond_p] =
        [pair.findings.ratio, pair.findings.difference_beyond_sampling].map(|found| found.p_value);
    let mut p_values = [ratio_p, nets[0].slope_in_all[3], nets[1].slope_in_all[3], beyond_p];
    holm(&mut p_values);
    for (actual, expected) in pair.findings.corrected.into_iter().zip(p_values) {
        assert_near(actual, expected, 0.0);
    }
    assert_eq!(pair.findings.basis, Basis::Tests { seed: 0, block: block_length.ceil() as usize, windows: 10 });
    // Both bootstraps draw at random: the ends of their intervals have a deviation of about 1 % of the width.
    for (actual, [value, low, high]) in [(&pair.findings.ratio, ratio), (&pair.findings.difference, difference)] {
        assert_near(actual.value, value, 0.0);
        let bound = 0.05 * (high - low);
        assert!((actual.low - low).abs() <= bound && (actual.high - high).abs() <= bound, "{actual:?} {low} {high}");
    }
}
