//! The gradients of gamma, beta and the input.

use multiversion::multiversion;
use rayon::prelude::*;

use super::{Norm, partial_elements};
use crate::dispatch::{Bindings, Cost, Kernel};
use crate::kernels::relu::where_positive;
use crate::kernels::{element_workgroups, lanes, params, shader};
use crate::protocol::REDUCE_CHANNELS;

shader! {
    BACKWARD_REDUCE: "batch_norm_backward_reduce", family: batch_norm,
    reads: 4, writes: 1, params: BackwardReduce
}
shader! {
    BACKWARD_FINISH: "batch_norm_backward_finish", family: batch_norm,
    reads: 1, writes: 2, params: BackwardFinish
}
shader! {
    BACKWARD_APPLY: "batch_norm_backward_apply", family: batch_norm,
    reads: 6, writes: 1, params: BackwardApply
}

/// Pixels in a chunk of [`BackwardReduce`].
pub const REDUCE_CHUNK_PIXELS: u32 = 512;

/// Returns the number of chunks that [`BackwardReduce`] makes of `pixels`.
pub fn reduce_chunks(pixels: u32) -> u32 {
    pixels.div_ceil(REDUCE_CHUNK_PIXELS)
}

params! {
    /// `dy, mask, x, norm -> partials`: chunk sums of the gradients of beta and gamma, where `mask`
    /// is the output of the ReLU behind.
    pub struct BackwardReduce {
        /// batch x height x width
        pixels: u32,
        /// Channels of `x`.
        channels: u32,
        /// Pixels in a chunk.
        chunk_pixels: u32,
        /// Factor of the branch in the forward pass.
        scale: f32,
    }
}

impl BackwardReduce {
    /// On tensors `[pixels, channels]`.
    pub fn new(pixels: u32, channels: u32, scale: f32) -> Self {
        Self { pixels, channels, chunk_pixels: REDUCE_CHUNK_PIXELS, scale }
    }
}

impl Kernel for BackwardReduce {
    fn workgroups(&self) -> u32 {
        self.pixels.div_ceil(self.chunk_pixels) * self.channels.div_ceil(REDUCE_CHANNELS)
    }
    fn cost(&self) -> Cost {
        let elements = f64::from(self.pixels) * f64::from(self.channels);
        Cost { flop: 6.0 * elements, terms: f64::from(self.chunk_pixels), loads: 3.0 * elements }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([dy, mask, x, norm], [partials]) = bindings.f32();
        let channels = self.channels as usize;
        let chunk = self.chunk_pixels as usize * channels;
        let norm = Norm::new(norm);
        dy.par_chunks(chunk)
            .zip(mask.par_chunks(chunk))
            .zip(x.par_chunks(chunk))
            .zip(partials.par_chunks_mut(2 * channels))
            .for_each(|(((dy, mask), x), partial)| backward_reduce(dy, mask, x, &norm, self.scale, partial));
    }
}

#[multiversion(targets("x86_64+avx2+fma"))]
fn backward_reduce(dy: &[f32], mask: &[f32], x: &[f32], norm: &Norm, scale: f32, partial: &mut [f32]) {
    let width = norm.width();
    let (mut sum_g, mut sum_gx) = (vec![0.0f32; width], vec![0.0f32; width]);
    for ((dy, mask), x) in dy.chunks(width).zip(mask.chunks(width)).zip(x.chunks(width)) {
        let n = x.len();
        let (dy, mask, mean, rstd) = (&dy[..n], &mask[..n], &norm.mean[..n], &norm.rstd[..n]);
        let (sum_g, sum_gx) = (&mut sum_g[..n], &mut sum_gx[..n]);
        for i in 0..n {
            let g = where_positive(mask[i], scale * dy[i]);
            sum_g[i] += g;
            sum_gx[i] += g * (x[i] - mean[i]) * rstd[i];
        }
    }
    let (g, gx) = partial.split_at_mut(partial.len() / 2);
    lanes::sum(&sum_g, g);
    lanes::sum(&sum_gx, gx);
}

/// Sums of `g` and of `g` times the normalised `x`, `[2, channels]`.
#[multiversion(targets("x86_64+avx2+fma"))]
pub(in crate::kernels) fn gradient_sums(g: &[f32], x: &[f32], norm: &Norm, sums: &mut [f32]) {
    let width = norm.width();
    let (mut sum_g, mut sum_gx) = (vec![0.0f32; width], vec![0.0f32; width]);
    for (g, x) in g.chunks(width).zip(x.chunks(width)) {
        let n = x.len();
        let (g, mean, rstd) = (&g[..n], &norm.mean[..n], &norm.rstd[..n]);
        let (sum_g, sum_gx) = (&mut sum_g[..n], &mut sum_gx[..n]);
        for i in 0..n {
            sum_g[i] += g[i];
            sum_gx[i] += g[i] * (x[i] - mean[i]) * rstd[i];
        }
    }
    let (g, gx) = sums.split_at_mut(sums.len() / 2);
    lanes::sum(&sum_g, g);
    lanes::sum(&sum_gx, gx);
}

params! {
    /// `partials -> dgamma, dbeta`: sums the chunks of [`BackwardReduce`], or of a convolution's
    /// input gradient.
    pub struct BackwardFinish {
        /// Number of chunks.
        chunks: u32,
        /// Channels.
        channels: u32,
    }
}

impl Kernel for BackwardFinish {
    fn workgroups(&self) -> u32 {
        self.channels
    }
    fn cost(&self) -> Cost {
        let partials = partial_elements(self.chunks, self.channels) as f64;
        Cost { flop: partials, terms: f64::from(self.chunks), loads: partials }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([partials], [dgamma, dbeta]) = bindings.f32();
        dgamma.fill(0.0);
        dbeta.fill(0.0);
        for chunk in partials.chunks(2 * self.channels as usize) {
            let (g, gx) = chunk.split_at(dbeta.len());
            lanes::add(g, dbeta);
            lanes::add(gx, dgamma);
        }
    }
}

params! {
    /// `dy, mask, x, norm, dgamma, dbeta -> dx`.
    pub struct BackwardApply {
        /// batch x height x width
        pixels: u32,
        /// Channels of `x`.
        channels: u32,
        /// Factor of the branch in the forward pass.
        scale: f32,
        /// 1: a ReLU with output `mask` lies behind; 0: none, or `dy` came through it. The mask is
        /// not read.
        masked: u32,
    }
}

impl BackwardApply {
    /// On tensors `[pixels, channels]`.
    pub fn new(pixels: u32, channels: u32, scale: f32, masked: bool) -> Self {
        Self { pixels, channels, scale, masked: masked.into() }
    }
}

impl Kernel for BackwardApply {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.pixels * self.channels)
    }
    fn cost(&self) -> Cost {
        let elements = f64::from(self.pixels) * f64::from(self.channels);
        Cost { flop: 9.0 * elements, terms: 3.0, loads: 8.0 * elements }
    }
    fn uses(&self, binding: usize) -> bool {
        binding != 1 || self.masked != 0
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([dy, mask, x, norm, dgamma, dbeta], [dx]) = bindings.f32();
        let share = 1.0 / self.pixels as f32;
        let share = |sum: &[f32]| lanes::spread(&sum.iter().map(|sum| sum * share).collect::<Vec<f32>>());
        let norm = Norm::new(norm);
        let gain = norm.gamma.iter().zip(&norm.rstd).map(|(gamma, rstd)| gamma * rstd).collect();
        let slopes = Slopes { gain, slope: share(dgamma), offset: share(dbeta) };
        let task = lanes::task(self.channels as usize);
        // Without a mask, the binding is unused and empty.
        let mask = if self.masked != 0 { mask } else { x };
        dy.par_chunks(task).zip(mask.par_chunks(task)).zip(x.par_chunks(task)).zip(dx.par_chunks_mut(task)).for_each(
            |(((dy, mask), x), dx)| {
                let mask = (self.masked != 0).then_some(mask);
                backward_apply(dy, mask, x, &norm, &slopes, self.scale, dx);
            },
        );
    }
}

/// Coefficients of `dx = gain * (g - offset - xhat * slope)`, by lanes.
struct Slopes {
    gain: Vec<f32>,
    slope: Vec<f32>,
    offset: Vec<f32>,
}

#[multiversion(targets("x86_64+avx2+fma"))]
fn backward_apply(
    dy: &[f32],
    mask: Option<&[f32]>,
    x: &[f32],
    norm: &Norm,
    slopes: &Slopes,
    scale: f32,
    dx: &mut [f32],
) {
    let width = norm.width();
    for (row, (dx, x)) in dx.chunks_mut(width).zip(x.chunks(width)).enumerate() {
        let n = x.len();
        let (dy, mean, rstd) = (&dy[row * width..][..n], &norm.mean[..n], &norm.rstd[..n]);
        let (gain, slope, offset) = (&slopes.gain[..n], &slopes.slope[..n], &slopes.offset[..n]);
        match mask {
            Some(mask) => {
                let mask = &mask[row * width..][..n];
                for i in 0..n {
                    let g = where_positive(mask[i], scale * dy[i]);
                    dx[i] = gain[i] * (g - offset[i] - (x[i] - mean[i]) * rstd[i] * slope[i]);
                }
            }
            None => {
                for i in 0..n {
                    dx[i] = gain[i] * (scale * dy[i] - offset[i] - (x[i] - mean[i]) * rstd[i] * slope[i]);
                }
            }
        }
    }
}
