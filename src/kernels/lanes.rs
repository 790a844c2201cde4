//! Long inner loops over short rows of channels, for the twins.
//!
//! A loop over 16 channels is too short to vectorise well. Twins that treat all pixels alike work on *lanes*
//! instead: several pixels' rows side by side, with the per-channel coefficients repeated to match.

use multiversion::multiversion;

/// Shortest inner loop worth having, in elements.
const SHORTEST: usize = 64;
/// Elements that one task of a parallel element-wise loop works on: its share of the L2 cache.
const TASK: usize = 16 * 1024;

/// Number of elements in the lanes for rows of `channels`: a multiple of it.
pub(crate) fn width(channels: usize) -> usize {
    channels * SHORTEST.div_ceil(channels)
}

/// Elements for one parallel task: a multiple of the lanes' width.
pub(crate) fn task(channels: usize) -> usize {
    let width = width(channels);
    width * TASK.div_ceil(width)
}

/// `coefficients`, one per channel, repeated over the lanes.
pub(crate) fn spread(coefficients: &[f32]) -> Vec<f32> {
    coefficients.iter().copied().cycle().take(width(coefficients.len())).collect()
}

/// Adds up the lanes' accumulators channel by channel, in order, into `sums`.
pub(crate) fn sum(lanes: &[f32], sums: &mut [f32]) {
    sums.fill(0.0);
    for row in lanes.chunks(sums.len()) {
        for (sum, lane) in sums.iter_mut().zip(row) {
            *sum += lane;
        }
    }
}

/// `sums += addend`.
#[multiversion(targets("x86_64+avx2+fma"))]
pub(crate) fn add(addend: &[f32], sums: &mut [f32]) {
    for (sum, addend) in sums.iter_mut().zip(addend) {
        *sum += addend;
    }
}
