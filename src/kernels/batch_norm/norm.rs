//! The norm, a batch norm's effect on its input, from the statistics of the batch or the running
//! ones.

use super::{merge_moments, partial_elements};
use crate::dispatch::{Bindings, Cost, Kernel};
use crate::kernels::{element_workgroups, lanes, params, shader};

shader! { FINISH: "batch_norm_finish", family: batch_norm, reads: 3, writes: 3, params: Finish }
shader! { RUNNING: "batch_norm_running", family: batch_norm, reads: 4, writes: 1, params: Running }

/// A norm, each channel's numbers repeated over the lanes.
pub(in crate::kernels) struct Norm {
    pub mean: Vec<f32>,
    pub rstd: Vec<f32>,
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
}

impl Norm {
    /// From the value `[4, channels]`.
    pub fn new(norm: &[f32]) -> Self {
        let channels = norm.len() / 4;
        let row = |index: usize| lanes::spread(&norm[index * channels..][..channels]);
        Self { mean: row(0), rstd: row(1), gamma: row(2), beta: row(3) }
    }

    /// Mean, 1 / deviation, gamma and beta.
    #[inline(always)]
    pub fn rows(&self) -> [&[f32]; 4] {
        [&self.mean, &self.rstd, &self.gamma, &self.beta]
    }

    /// Elements in the lanes: the unit in which rows of pixels are worked on.
    pub fn width(&self) -> usize {
        self.mean.len()
    }
}

params! {
    /// `partials, gamma, beta -> norm, batch_mean, batch_var`, from the statistics that a
    /// convolution made.
    pub struct Finish {
        /// batch x height x width, at least 2.
        pixels: u32,
        /// Channels.
        channels: u32,
        /// Pixels in a chunk.
        chunk_pixels: u32,
        /// Added to the variance.
        epsilon: f32,
    }
}

impl Kernel for Finish {
    fn workgroups(&self) -> u32 {
        self.channels
    }
    fn cost(&self) -> Cost {
        let partials = partial_elements(self.pixels.div_ceil(self.chunk_pixels), self.channels) as f64;
        Cost { flop: 5.0 * partials, terms: f64::from(self.pixels), loads: partials }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([partials, gamma, beta], [norm, batch_mean, batch_var]) = bindings.f32();
        let channels = self.channels as usize;
        let (mut moments, mut total) = (vec![0.0; 2 * channels], 0);
        for chunk in partials.chunks(2 * channels) {
            let count = self.chunk_pixels.min(self.pixels - total);
            merge_moments(&mut moments, total as f32, chunk, count as f32);
            total += count;
        }
        let (mean, m2) = moments.split_at(channels);
        let [norm_mean, rstd, norm_gamma, norm_beta] = rows(norm);
        norm_gamma.copy_from_slice(gamma);
        norm_beta.copy_from_slice(beta);
        for c in 0..channels {
            norm_mean[c] = mean[c];
            rstd[c] = 1.0 / (m2[c] / total as f32 + self.epsilon).sqrt();
            batch_mean[c] = mean[c];
            batch_var[c] = m2[c] / (total as f32 - 1.0);
        }
    }
}

params! {
    /// `running_mean, running_var, gamma, beta -> norm`, for inference.
    pub struct Running {
        /// Channels.
        channels: u32,
        /// Added to the variance.
        epsilon: f32,
    }
}

impl Kernel for Running {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.channels)
    }
    fn cost(&self) -> Cost {
        let channels = f64::from(self.channels);
        Cost { flop: 3.0 * channels, terms: 1.0, loads: 4.0 * channels }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([running_mean, running_var, gamma, beta], [norm]) = bindings.f32();
        let [mean, rstd, norm_gamma, norm_beta] = rows(norm);
        mean.copy_from_slice(running_mean);
        norm_gamma.copy_from_slice(gamma);
        norm_beta.copy_from_slice(beta);
        for (rstd, var) in rstd.iter_mut().zip(running_var) {
            *rstd = 1.0 / (var + self.epsilon).sqrt();
        }
    }
}

/// Returns the four rows of a norm.
fn rows(norm: &mut [f32]) -> [&mut [f32]; 4] {
    let channels = norm.len() / 4;
    let (mean, rest) = norm.split_at_mut(channels);
    let (rstd, rest) = rest.split_at_mut(channels);
    let (gamma, beta) = rest.split_at_mut(channels);
    [mean, rstd, gamma, beta]
}
