//! Intervals of statistics of dependent series, by the moving-block bootstrap (Künsch, "The jackknife and the bootstrap
//! for general stationary observations", 1989).
//!
//! A resample is made of blocks of consecutive tests, so that what neighbours have in common stays in it. What is drawn
//! are indices: series that are indexed by the same ones stay paired.

use super::estimate::{Estimate, LEVEL};
use crate::rng::{self, Stream};

/// Resamples of an interval. With 9,999, its ends are resamples, the 250th from each side (Davison and Hinkley,
/// "Bootstrap methods and their application", 1997, section 5.3).
pub const RESAMPLES: u32 = 9_999;

/// Number of autocorrelations in a row that must be insignificant: max(5, sqrt(log10 n)), which is 5 below n = 10^25.
const INSIGNIFICANT: usize = 5;

/// The best block length for the bootstrap of the mean of `values`, not rounded: at least 1, at most a third of the
/// values or 3 sqrt(n) (Politis and White, "Automatic block-length selection for the dependent bootstrap", 2004, as
/// corrected by Patton, Politis and White, 2009: the circular bootstrap's, which blocks without a circle share).
///
/// With M twice the smallest m for which the autocorrelations at lags m to m + 4 all lie within
/// 2 sqrt(log10 n / n), as in Patton's program, R(k) the autocovariance at lag k, and w(k) = 1 up to M / 2, then
/// falling to 0 at M: b = (2 G^2 / D)^(1/3) n^(1/3), G = sum of w(k) |k| R(k), D = 4/3 (sum of w(k) R(k))^2, both sums
/// over k from -M to M. It is 1 where there are fewer than 10 values, or all are the same.
pub fn block_length(values: &[f64]) -> f64 {
    let count = values.len();
    if count < 10 {
        return 1.0;
    }
    let n = count as f64;
    let mean = values.iter().sum::<f64>() / n;
    let centred: Vec<f64> = values.iter().map(|value| value - mean).collect();
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let covariance = |lag: usize| product(&centred[lag..], &centred[..count - lag]) / n;
    let longest = n.sqrt().ceil() as usize + INSIGNIFICANT;
    let bound = 2.0 * (n.log10() / n).sqrt();
    let is_insignificant = |lag: usize| {
        let squares = product(&centred[lag + 1..], &centred[lag + 1..])
            * product(&centred[..count - lag - 1], &centred[..count - lag - 1]);
        (n * covariance(lag)).abs() / squares.sqrt() < bound
    };
    let all_insignificant = |first: usize| (first..first + INSIGNIFICANT).all(is_insignificant);
    let cut = (1..=longest - INSIGNIFICANT).find(|&first| all_insignificant(first));
    let cut = cut.map_or(longest, |first| (2 * first).min(longest));

    let (mut slope, mut spectrum) = (0.0, covariance(0));
    for lag in 1..=cut {
        let share = lag as f64 / cut as f64;
        let weight = if share <= 0.5 { 1.0 } else { 2.0 * (1.0 - share) };
        slope += 2.0 * weight * lag as f64 * covariance(lag);
        spectrum += 2.0 * weight * covariance(lag);
    }
    let best = (2.0 * slope.powi(2) / (4.0 / 3.0 * spectrum.powi(2))).cbrt() * n.cbrt();
    let most = (3.0 * n.sqrt()).min(n / 3.0).ceil();
    // A NaN, of values that are all the same, becomes 1.
    best.max(1.0).min(most)
}

/// The blocks that resamples are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MovingBlocks {
    /// Tests in the series, and in a resample.
    pub count: usize,
    /// Tests in a block, from 1 to `count`.
    pub length: usize,
    /// Of the draws.
    pub seed: u64,
}

impl MovingBlocks {
    /// The indices of the resample `number`: blocks from anywhere in the series, the last one cut short.
    fn resample(&self, number: u32) -> Vec<usize> {
        let begins = self.count + 1 - self.length;
        let blocks = self.count.div_ceil(self.length) as u32;
        let starts = (0..blocks).map(|block| rng::below(self.seed, Stream::Bootstrap, number, block, begins));
        starts.flat_map(|start| start..start + self.length).take(self.count).collect()
    }

    /// Some figures of the series, with percentile intervals. `figures` gets the indices of a resample, and reads by
    /// them whatever series it is about. The p value is the least at which the interval of that level leaves out 0.
    pub fn estimates<const COUNT: usize>(&self, figures: impl Fn(&[usize]) -> [f64; COUNT]) -> [Estimate; COUNT] {
        let whole: Vec<usize> = (0..self.count).collect();
        let values = figures(&whole);
        let resamples: Vec<[f64; COUNT]> = (0..RESAMPLES).map(|number| figures(&self.resample(number))).collect();
        std::array::from_fn(|figure| {
            let mut sorted: Vec<f64> = resamples.iter().map(|figures| figures[figure]).collect();
            sorted.sort_by(f64::total_cmp);
            let tail = (f64::from(RESAMPLES + 1) * (1.0 - LEVEL) / 2.0).round() as usize;
            let beyond = |is: fn(&f64) -> bool| (1 + sorted.iter().filter(|&value| is(value)).count()) as f64;
            let smaller = beyond(|value| *value <= 0.0).min(beyond(|value| *value >= 0.0));
            Estimate {
                value: values[figure],
                low: sorted[tail - 1],
                high: sorted[sorted.len() - tail],
                p_value: (2.0 * smaller / f64::from(RESAMPLES + 1)).min(1.0),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::statistics::paired::mean;

    /// A series with x_t = `memory` x_(t-1) + noise, the noise uniform between -1/2 and 1/2.
    fn series(count: usize, memory: f64, seed: u64) -> Vec<f64> {
        let mut before = 0.0;
        let next = |index: usize| {
            before = memory * before + f64::from(rng::uniform(seed, Stream::Init, 1, index as u32)) - 0.5;
            before
        };
        (0..count).map(next).collect()
    }

    /// Of 60 series with known mean 0, the share whose interval holds it.
    fn coverage(memory: f64, length: impl Fn(&[f64]) -> usize) -> f64 {
        let covers = |seed: u64| {
            let values = series(200, memory, seed);
            let blocks = MovingBlocks { count: values.len(), length: length(&values), seed };
            let [estimate] =
                blocks.estimates(|indices| [mean(&indices.iter().map(|&index| values[index]).collect::<Vec<_>>())]);
            assert_eq!(estimate.p_value <= 0.05, estimate.low > 0.0 || estimate.high < 0.0, "{estimate:?}");
            estimate.low <= 0.0 && 0.0 <= estimate.high
        };
        (0..60).filter(|&seed| covers(seed)).count() as f64 / 60.0
    }

    /// The share has a deviation of 3 % here; blocks of finite length cover a little too little.
    #[test]
    fn intervals_cover_what_they_say() {
        let chosen = |values: &[f64]| block_length(values).ceil() as usize;
        for memory in [0.0, 0.6] {
            let share = coverage(memory, chosen);
            assert!((0.85..=1.0).contains(&share), "{memory}: {share}");
        }
        // Without blocks, dependence goes unseen.
        assert!(coverage(0.6, |_| 1) < 0.8);
    }

    #[test]
    fn what_has_no_dependence_gets_blocks_of_one() {
        assert_eq!(block_length(&[]), 1.0);
        assert_eq!(block_length(&[0.5; 100]), 1.0);
        assert_eq!(block_length(&[1.0, 2.0, 3.0]), 1.0);
        assert!(block_length(&series(500, 0.8, 0)) > 5.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn resamples_are_made_of_blocks(count in 1usize..200, length in 1usize..200, seed: u64, number in 0u32..9_999) {
            let blocks = MovingBlocks { count, length: length.min(count), seed };
            let indices = blocks.resample(number);
            prop_assert_eq!(indices.len(), count);
            for block in indices.chunks(blocks.length) {
                let is_in_place = |(place, &index): (usize, &usize)| index == block[0] + place && index < count;
                prop_assert!(block.iter().enumerate().all(is_in_place));
            }
            prop_assert_eq!(indices, blocks.resample(number));
        }

        #[test]
        fn a_block_length_lies_between_its_bounds(values in prop::collection::vec(-1.0..1.0, 0..80)) {
            let length = block_length(&values);
            prop_assert!((1.0..=(values.len() as f64 / 3.0).ceil().max(1.0)).contains(&length), "{}", length);
        }
    }

    #[test]
    fn every_test_can_be_drawn_and_resamples_differ() {
        let blocks = MovingBlocks { count: 20, length: 6, seed: 3 };
        let mut drawn: Vec<usize> = (0..100).flat_map(|number| blocks.resample(number)).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn, (0..20).collect::<Vec<_>>());
        assert_ne!(blocks.resample(0), blocks.resample(1));
        assert_ne!(blocks.resample(0), MovingBlocks { seed: 4, ..blocks }.resample(0));
    }
}
