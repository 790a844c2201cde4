//! Means and squared deviations of chunks of pixels, and their merge.

use multiversion::multiversion;

use crate::kernels::lanes;

/// Mean and sum of squared deviations of each channel of `x`, in two passes.
#[multiversion(targets("x86_64+avx2+fma"))]
pub(in crate::kernels) fn chunk_moments(x: &[f32], mean: &mut [f32], m2: &mut [f32]) {
    let channels = mean.len();
    let pixels = (x.len() / channels) as f32;
    let mut sums = vec![0.0f32; lanes::width(channels)];
    for row in x.chunks(sums.len()) {
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum += x;
        }
    }
    lanes::sum(&sums, mean);
    for mean in mean.iter_mut() {
        *mean /= pixels;
    }
    let means = lanes::spread(mean);
    sums.fill(0.0);
    for row in x.chunks(sums.len()) {
        for ((sum, x), mean) in sums.iter_mut().zip(row).zip(&means) {
            *sum += (x - mean) * (x - mean);
        }
    }
    lanes::sum(&sums, m2);
}

/// Merges the moments of `count` numbers a channel into `moments`, those of `total` numbers: `[2,
/// channels]`, mean and squared deviations (Chan, Golub and LeVeque 1979).
#[multiversion(targets("x86_64+avx2+fma"))]
pub(in crate::kernels) fn merge_moments(moments: &mut [f32], total: f32, other: &[f32], count: f32) {
    let share = count / (total + count);
    let (means, m2s) = moments.split_at_mut(other.len() / 2);
    let (other_means, other_m2s) = other.split_at(other.len() / 2);
    for (((mean, m2), other_mean), other_m2) in means.iter_mut().zip(m2s).zip(other_means).zip(other_m2s) {
        let delta = other_mean - *mean;
        *mean += delta * share;
        *m2 += other_m2 + delta * delta * total * share;
    }
}
