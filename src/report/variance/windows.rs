//! How much a net's accuracy varies from test to test, and how much of that is the tests' own doing.
//!
//! Accuracies are shares in [0, 1], and so variances are shares squared; only sentences speak of
//! points (hundredths).

use crate::report::statistics::estimate::Estimate;
use crate::report::statistics::line::{Line, slope};

/// Windows into which a run is cut, if that gives each [`GOOD_WINDOW`] tests; fewer otherwise.
pub const WINDOWS: usize = 10;

/// Fewest windows: with 5, the slope over them has 3 degrees of freedom.
const LEAST_WINDOWS: usize = 5;

/// Tests in a window from which on its variance, with 3 degrees of freedom, is worth something.
pub const GOOD_WINDOW: usize = 5;

/// Tests in a window below which there is no variance about a line.
pub const SHORTEST_WINDOW: usize = 3;

/// Tests that give every window `window` of them, as the first fifth is left out: 5/4 of those in windows.
pub const fn tests_needed(window: usize) -> usize {
    (LEAST_WINDOWS * window * 5).div_ceil(4)
}

/// How the images of a test are drawn: without replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Images in a test, n.
    pub images: usize,
    /// Images that they are drawn from, N.
    pub population: usize,
}

impl Sample {
    /// Variance that a test's accuracy has by the draw alone, if the share m of all images would be classified
    /// correctly: m (1 - m) / n (N - n) / (N - 1), a hypergeometric count's over n^2 (Cochran, "Sampling techniques",
    /// 1977, section 3.2). With 400 of 10,000 images and m = 0.99 its root is 0.49 points; of a test on all, 0.
    pub fn variance(self, accuracy: f64) -> f64 {
        self.factor() * accuracy * (1.0 - accuracy)
    }

    /// Derivative of `variance`.
    fn derivative(self, accuracy: f64) -> f64 {
        self.factor() * (1.0 - 2.0 * accuracy)
    }

    fn factor(self) -> f64 {
        let left = self.population.saturating_sub(self.images) as f64;
        if left == 0.0 { 0.0 } else { left / (self.population - 1) as f64 / self.images as f64 }
    }
}

/// Variance of an accuracy (a share), and what is expected of it by the draw of test images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variance {
    /// As observed.
    pub in_all: f64,
    /// Expected by the draw alone.
    pub sampling: f64,
}

impl Variance {
    /// What the draw does not explain: the net's own. An unbiased estimate, so it comes out negative about every other
    /// time where there is none.
    pub fn beyond_sampling(self) -> f64 {
        self.in_all - self.sampling
    }

    /// Mean of several, part by part.
    pub fn mean<'a>(parts: impl ExactSizeIterator<Item = &'a Self>) -> Self {
        let count = parts.len() as f64;
        let sum = parts.fold((0.0, 0.0), |sum, part| (sum.0 + part.in_all, sum.1 + part.sampling));
        Self { in_all: sum.0 / count, sampling: sum.1 / count }
    }
}

/// Consecutive tests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Step of the first test.
    pub first: u64,
    /// Step of the last test.
    pub last: u64,
    /// Mean accuracy.
    pub accuracy: f64,
    /// Variance about the window's line.
    pub variance: Variance,
}

/// The tests of a run without its learning curve.
///
/// The first fifth of the tests is left out (and up to nine more, so that windows are equally long), and the rest cut
/// into windows, at most [`WINDOWS`]. In each, a line is fitted by least squares, and what is looked at is the distance
/// of the tests from that line, so that the learning curve counts as no variance. Nor does any wandering of the
/// accuracy that is slower than a window: it can not be told from learning.
#[derive(Clone, Debug, PartialEq)]
pub struct Detrended {
    /// In their order.
    pub windows: Vec<Window>,
    /// What each test in a window adds: the mean over any window's is that window's variance, and the mean over all
    /// is the run's. Of k tests in a window with mean accuracy m, a test with accuracy a that lies e off the line adds
    /// e^2 k / (k - 2) to the variance in all, as a line takes two degrees of freedom; and, V being
    /// [`Sample::variance`], V(m) + V'(m) (a - m) to that of sampling, which tells a bootstrap how V depends on the
    /// accuracies drawn.
    pub contributions: Vec<Variance>,
}

/// What rounding leaves of a test that lies on its window's line.
const ROUNDING: f64 = 1e-12;

impl Detrended {
    /// Of a run's `tests`: steps, which ascend, and accuracies. `None` of fewer than
    /// [`tests_needed`]`(`[`SHORTEST_WINDOW`]`)`.
    pub fn of(tests: &[(u64, f64)], sample: Sample) -> Option<Self> {
        let left = tests.len() - tests.len().div_ceil(5);
        let count = (left / GOOD_WINDOW).clamp(LEAST_WINDOWS, WINDOWS);
        let length = left / count;
        if length < SHORTEST_WINDOW {
            return None;
        }
        let (mut windows, mut contributions) = (Vec::new(), Vec::new());
        for tests in tests[tests.len() - count * length..].chunks_exact(length) {
            let points: Vec<(f64, f64)> = tests.iter().map(|&(step, accuracy)| (step as f64, accuracy)).collect();
            let line = Line::through(&points)?;
            let mean = points.iter().map(|(_, accuracy)| accuracy).sum::<f64>() / length as f64;
            let freedom = length as f64 / (length - 2) as f64;
            let contribution = |&(step, accuracy): &(f64, f64)| {
                let off = accuracy - line.at(step);
                let off = if off.abs() < ROUNDING { 0.0 } else { off };
                let sampling = sample.variance(mean) + sample.derivative(mean) * (accuracy - mean);
                Variance { in_all: off * off * freedom, sampling }
            };
            contributions.extend(points.iter().map(contribution));
            windows.push(Window {
                first: tests[0].0,
                last: tests[length - 1].0,
                accuracy: mean,
                variance: Variance::mean(contributions[contributions.len() - length..].iter()),
            });
        }
        Some(Self { windows, contributions })
    }

    /// Over all windows.
    pub fn variance(&self) -> Variance {
        Variance::mean(self.contributions.iter())
    }

    /// How a `part` of the windows' variance changes from step to step: the slope of its line over the windows' middle
    /// steps, a share squared per step, with Student's interval of two degrees of freedom less than there are windows.
    /// They do not overlap, so they are as good as independent. It is the variance itself that is fitted: it can be
    /// negative, and has no logarithm then.
    pub fn slope(&self, part: impl Fn(Variance) -> f64) -> Option<Estimate> {
        let point = |window: &Window| ((window.first as f64 + window.last as f64) / 2.0, part(window.variance));
        slope(&self.windows.iter().map(point).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rng::{Stream, uniform};

    const SAMPLE: Sample = Sample { images: 400, population: 10_000 };

    #[test]
    fn sampling_alone_gives_half_a_point() {
        let expected = 0.99 * 0.01 / 400.0 * 9600.0 / 9999.0;
        assert!((SAMPLE.variance(0.99) - expected).abs() < 1e-18);
        for all in [Sample { images: 10_000, population: 10_000 }, Sample { images: 1, population: 1 }] {
            assert_eq!((all.variance(0.5), all.derivative(0.1)), (0.0, 0.0));
        }
    }

    #[test]
    fn short_runs_have_no_windows() {
        let tests = |count: u64| (1..=count).map(|step| (step, 0.5)).collect::<Vec<_>>();
        let needed = tests_needed(SHORTEST_WINDOW);
        assert_eq!(Detrended::of(&[], SAMPLE), None);
        assert_eq!(Detrended::of(&tests(needed as u64 - 1), SAMPLE), None);
        let whole = Detrended::of(&tests(needed as u64), SAMPLE).unwrap();
        assert_eq!((whole.windows.len(), whole.contributions.len()), (5, 5 * SHORTEST_WINDOW));
        assert_eq!((whole.windows[0].first, whole.windows[4].last), (5, 19));
        // With more tests there are more windows, then longer ones.
        let shape = |count| {
            let whole = Detrended::of(&tests(count), SAMPLE).unwrap();
            (whole.windows.len(), whole.contributions.len())
        };
        assert_eq!([shape(40), shape(62), shape(63), shape(100)], [(6, 30), (9, 45), (10, 50), (10, 80)]);
        // What lies on a line has no variance, not rounding's.
        let ramp: Vec<(u64, f64)> = (1..=100).map(|step| (step, 0.1 + step as f64 / 300.0)).collect();
        assert_eq!(Detrended::of(&ramp, SAMPLE).unwrap().variance().in_all, 0.0);
        // Steps that do not ascend are no run's.
        assert_eq!(Detrended::of(&[(1, 0.5); 100], SAMPLE), None);
    }

    /// 1,000 tests that scatter by up to `scale` to both sides.
    fn scattered(scale: f64, seed: u64) -> Vec<(u64, f64)> {
        let noise = |step: u32| f64::from(uniform(seed, Stream::Init, 0, step)) - 0.5;
        (1..=1000).map(|step| (step, 0.9 + 2.0 * scale * noise(step as u32))).collect()
    }

    #[test]
    fn noise_has_its_variance() {
        // A uniform number's between -a and a: a^2 / 3.
        let variance = Detrended::of(&scattered(0.03, 1), SAMPLE).unwrap().variance();
        assert!((variance.in_all / 3e-4 - 1.0).abs() < 0.1, "{variance:?}");
        assert!((variance.beyond_sampling() - (variance.in_all - variance.sampling)).abs() < 1e-18);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_learning_curve_of_lines_is_no_variance(seed: u64, rises in prop::array::uniform10(-1e-4..1e-4)) {
            let flat = scattered(0.02, seed);
            let rise = |step: u64| {
                let window = (step.max(201) - 201) / 80;
                rises[window as usize] * step as f64
            };
            let curved: Vec<_> = flat.iter().map(|&(step, accuracy)| (step, accuracy + rise(step))).collect();
            let [flat, curved] = [&flat, &curved].map(|tests| Detrended::of(tests, SAMPLE).unwrap());
            for (flat, curved) in flat.windows.iter().zip(&curved.windows) {
                let (flat, curved) = (flat.variance.in_all, curved.variance.in_all);
                prop_assert!((flat - curved).abs() <= 1e-9 * flat, "{flat} {curved}");
            }
        }

        #[test]
        fn windows_are_the_means_of_what_their_tests_add(seed: u64) {
            let tests = scattered(0.02, seed);
            let run = Detrended::of(&tests, SAMPLE).unwrap();
            for (number, window) in run.windows.iter().enumerate() {
                let parts = &run.contributions[80 * number..][..80];
                prop_assert_eq!(window.variance, Variance::mean(parts.iter()));
                let sampling = SAMPLE.variance(window.accuracy);
                prop_assert!((window.variance.sampling - sampling).abs() <= 1e-12 * sampling);
                // Of a parabola, a tangent is off by the square of the distance.
                for (part, (_, accuracy)) in parts.iter().zip(&tests[200 + 80 * number..]) {
                    let off = SAMPLE.factor() * (accuracy - window.accuracy).powi(2);
                    prop_assert!((part.sampling - off - SAMPLE.variance(*accuracy)).abs() <= 1e-12 * sampling);
                }
            }
        }
    }
}
