//! Batch normalisation over NHWC activations: training and inference, forward and backward.
//!
//! Ioffe and Szegedy 2015, with PyTorch's conventions: the batch is normalised with its biased variance, the
//! running variance is unbiased, and `momentum` is the weight of the new batch.
//!
//! The statistics of a batch come from the convolution that makes it: (mean, sum of squared deviations) of fixed chunks
//! of pixels, merged here by Chan's formula. The chunks depend on the tensor's shape alone, so results do too. What a
//! norm does to its input is one value, the *norm*: `[4, channels]`, mean, 1 / deviation, gamma and beta. Convolutions
//! that follow apply it as they load, with a ReLU; where the result is needed itself, `Apply` and `Residual` write it.

use multiversion::multiversion;
use rayon::prelude::*;

use super::relu::{relu, where_positive};
use super::{element_workgroups, lanes, params, shader, update};
use crate::dispatch::{Bindings, Cost, Kernel};
use crate::protocol::{GRANULE, REDUCE_CHANNELS, REPORT_NOT_FINITE, UPDATE_GRADIENT};

shader! { FINISH: "batch_norm_finish", family: batch_norm, reads: 3, writes: 3, params: Finish }
shader! { RUNNING: "batch_norm_running", family: batch_norm, reads: 4, writes: 1, params: Running }
shader! { APPLY: "batch_norm_apply", family: batch_norm, reads: 2, writes: 1, params: Apply }
shader! { RESIDUAL: "batch_norm_residual", family: batch_norm, reads: 3, writes: 1, params: Residual }
shader! { BACKWARD_REDUCE: "batch_norm_backward_reduce", family: batch_norm, reads: 4, writes: 1, params: BackwardReduce }
shader! { BACKWARD_FINISH: "batch_norm_backward_finish", family: batch_norm, reads: 1, writes: 2, params: BackwardFinish }
shader! { BACKWARD_APPLY: "batch_norm_backward_apply", family: batch_norm, reads: 6, writes: 1, params: BackwardApply }
shader! { COMMIT: "batch_norm_commit", family: batch_norm, reads: 4, writes: 1, params: Commit }

/// Pixels in a chunk of [`BackwardReduce`].
pub const REDUCE_CHUNK_PIXELS: u32 = 512;

/// Chunks that [`BackwardReduce`] makes of `pixels`.
pub fn chunks(pixels: u32) -> u32 {
    pixels.div_ceil(REDUCE_CHUNK_PIXELS)
}

/// Words in the partial sums of `chunks` x `channels`: two per chunk and channel.
pub fn partial_words(chunks: u32, channels: u32) -> usize {
    2 * chunks as usize * channels as usize
}

/// Words of a norm over `channels`.
pub fn norm_words(channels: u32) -> usize {
    4 * channels as usize
}

/// Mean and sum of squared deviations of each channel of `x`, in two passes.
#[multiversion(targets("x86_64+avx2+fma"))]
pub(super) fn chunk_moments(x: &[f32], mean: &mut [f32], m2: &mut [f32]) {
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

/// Merges the moments of `count` numbers a channel into `moments`, those of `total` numbers: `[2, channels]`, mean and
/// squared deviations (Chan, Golub and LeVeque 1979).
#[multiversion(targets("x86_64+avx2+fma"))]
pub(super) fn merge_moments(moments: &mut [f32], total: f32, other: &[f32], count: f32) {
    let share = count / (total + count);
    let (means, m2s) = moments.split_at_mut(other.len() / 2);
    let (other_means, other_m2s) = other.split_at(other.len() / 2);
    for (((mean, m2), other_mean), other_m2) in means.iter_mut().zip(m2s).zip(other_means).zip(other_m2s) {
        let delta = other_mean - *mean;
        *mean += delta * share;
        *m2 += other_m2 + delta * delta * total * share;
    }
}

params! {
    /// `partials, gamma, beta -> norm, batch_mean, batch_var`, from the statistics that a convolution made.
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

impl Finish {
    /// Of the statistics of `[pixels, channels]` in chunks of so many pixels.
    pub fn new(pixels: u32, channels: u32, chunk_pixels: u32, epsilon: f32) -> Self {
        Self { pixels, channels, chunk_pixels, epsilon }
    }
}

impl Kernel for Finish {
    fn workgroups(&self) -> u32 {
        self.channels
    }
    fn cost(&self) -> Cost {
        let partials = partial_words(self.pixels.div_ceil(self.chunk_pixels), self.channels) as f64;
        Cost { flop: 5.0 * partials, terms: f64::from(self.pixels), loads: partials }
    }
    fn twin(&self, mut bindings: Bindings<'_, '_>) {
        let ([partials, gamma, beta], [norm, batch_mean, batch_var]) = bindings.f32();
        let channels = self.channels as usize;
        let (mut moments, mut total) = (vec![0.0; 2 * channels], 0);
        for chunk in partials.chunks(2 * channels) {
            let count = self.chunk_pixels.min(self.pixels - total);
            merge_moments(&mut moments, total as f32, chunk, count as f32);
            total += count;
        }
        let (mean, m2) = moments.split_at(channels);
        norm[2 * channels..][..channels].copy_from_slice(gamma);
        norm[3 * channels..].copy_from_slice(beta);
        for c in 0..channels {
            norm[c] = mean[c];
            norm[channels + c] = 1.0 / (m2[c] / total as f32 + self.epsilon).sqrt();
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

impl Running {
    /// For `channels` channels.
    pub fn new(channels: u32, epsilon: f32) -> Self {
        Self { channels, epsilon }
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
    fn twin(&self, mut bindings: Bindings<'_, '_>) {
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

/// The four rows of a norm.
fn rows(norm: &mut [f32]) -> [&mut [f32]; 4] {
    let channels = norm.len() / 4;
    let (mean, rest) = norm.split_at_mut(channels);
    let (rstd, rest) = rest.split_at_mut(channels);
    let (gamma, beta) = rest.split_at_mut(channels);
    [mean, rstd, gamma, beta]
}

/// A norm, each channel's numbers repeated over the lanes.
pub(super) struct Norm {
    mean: Vec<f32>,
    rstd: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
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
    fn width(&self) -> usize {
        self.mean.len()
    }
}

params! {
    /// `x, norm -> y`: normalise, scale and shift, then ReLU if asked.
    pub struct Apply {
        /// batch x height x width
        pixels: u32,
        /// Channels of `x`.
        channels: u32,
        /// 1: a ReLU follows; 0: none.
        relu: u32,
    }
}

impl Apply {
    /// On a tensor `[pixels, channels]`.
    pub fn new(pixels: u32, channels: u32, relu: bool) -> Self {
        Self { pixels, channels, relu: relu.into() }
    }
}

impl Kernel for Apply {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.pixels * self.channels)
    }
    fn cost(&self) -> Cost {
        let elements = f64::from(self.pixels) * f64::from(self.channels);
        Cost { flop: 4.0 * elements, terms: 1.0, loads: 5.0 * elements }
    }
    fn twin(&self, mut bindings: Bindings<'_, '_>) {
        let ([x, norm], [y]) = bindings.f32();
        let norm = Norm::new(norm);
        let task = lanes::task(self.channels as usize);
        x.par_chunks(task).zip(y.par_chunks_mut(task)).for_each(|(x, y)| {
            apply(x, &norm, self.relu != 0, y);
        });
    }
}

/// `y = norm(x)`, then ReLU if asked; whole pixels.
#[multiversion(targets("x86_64+avx2+fma"))]
pub(super) fn apply(x: &[f32], norm: &Norm, relu: bool, y: &mut [f32]) {
    let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
    for (x, y) in x.chunks(norm.width()).zip(y.chunks_mut(norm.width())) {
        let (mean, rstd) = (&norm.mean[..x.len()], &norm.rstd[..x.len()]);
        let (gamma, beta) = (&norm.gamma[..x.len()], &norm.beta[..x.len()]);
        for i in 0..x.len() {
            let value = (x[i] - mean[i]) * rstd[i] * gamma[i] + beta[i];
            y[i] = if value < floor { floor } else { value };
        }
    }
}

params! {
    /// `x, norm, shortcut -> y`: the end of a residual block,
    /// `y = ReLU(scale * batch_norm(x) + shortcut)`.
    pub struct Residual {
        /// batch x height x width
        pixels: u32,
        /// Channels of `x`.
        channels: u32,
        /// Factor of the branch: 1, p or 1 / p, by the rule in use.
        scale: f32,
    }
}

impl Residual {
    /// On tensors `[pixels, channels]`.
    pub fn new(pixels: u32, channels: u32, scale: f32) -> Self {
        Self { pixels, channels, scale }
    }
}

impl Kernel for Residual {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.pixels * self.channels)
    }
    fn cost(&self) -> Cost {
        let elements = f64::from(self.pixels) * f64::from(self.channels);
        Cost { flop: 6.0 * elements, terms: 2.0, loads: 6.0 * elements }
    }
    fn twin(&self, mut bindings: Bindings<'_, '_>) {
        let ([x, norm, shortcut], [y]) = bindings.f32();
        let norm = Norm::new(norm);
        let task = lanes::task(self.channels as usize);
        x.par_chunks(task)
            .zip(shortcut.par_chunks(task))
            .zip(y.par_chunks_mut(task))
            .for_each(|((x, shortcut), y)| residual(x, &norm, self.scale, shortcut, y));
    }
}

#[multiversion(targets("x86_64+avx2+fma"))]
fn residual(x: &[f32], norm: &Norm, scale: f32, shortcut: &[f32], y: &mut [f32]) {
    let width = norm.width();
    for ((x, shortcut), y) in x.chunks(width).zip(shortcut.chunks(width)).zip(y.chunks_mut(width)) {
        let (mean, rstd) = (&norm.mean[..x.len()], &norm.rstd[..x.len()]);
        let (gamma, beta) = (&norm.gamma[..x.len()], &norm.beta[..x.len()]);
        for i in 0..x.len() {
            let branch = (x[i] - mean[i]) * rstd[i] * gamma[i] + beta[i];
            y[i] = relu(scale * branch + shortcut[i]);
        }
    }
}

params! {
    /// `dy, mask, x, norm -> partials`: chunk sums of the gradients of beta and gamma, where `mask` is the output of
    /// the ReLU behind.
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
    fn twin(&self, mut bindings: Bindings<'_, '_>) {
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
pub(super) fn gradient_sums(g: &[f32], x: &[f32], norm: &Norm, sums: &mut [f32]) {
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
    /// `partials -> dgamma, dbeta`: sums the chunks of [`BackwardReduce`], or of a convolution's input gradient.
    pub struct BackwardFinish {
        /// Number of chunks.
        chunks: u32,
        /// Channels.
        channels: u32,
    }
}

impl BackwardFinish {
    /// Of partials `[chunks, 2, channels]`.
    pub fn new(chunks: u32, channels: u32) -> Self {
        Self { chunks, channels }
    }
}

impl Kernel for BackwardFinish {
    fn workgroups(&self) -> u32 {
        self.channels
    }
    fn cost(&self) -> Cost {
        let partials = partial_words(self.chunks, self.channels) as f64;
        Cost { flop: partials, terms: f64::from(self.chunks), loads: partials }
    }
    fn twin(&self, mut bindings: Bindings<'_, '_>) {
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
        /// 1: a ReLU with output `mask` lies behind; 0: none, or `dy` came through it. The mask is not read.
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
    fn twin(&self, mut bindings: Bindings<'_, '_>) {
        let ([dy, mask, x, norm, dgamma, dbeta], [dx]) = bindings.f32();
        let share = 1.0 / self.pixels as f32;
        let share = |sum: &[f32]| lanes::spread(&sum.iter().map(|sum| sum * share).collect::<Vec<f32>>());
        let norm = Norm::new(norm);
        let gain = norm.gamma.iter().zip(&norm.rstd).map(|(gamma, rstd)| gamma * rstd).collect();
        let slopes = Slopes { gain, slope: share(dgamma), offset: share(dbeta) };
        let task = lanes::task(self.channels as usize);
        // What is not masked does not read the mask, which may be another size.
        let mask = if self.masked != 0 { mask } else { x };
        dy.par_chunks(task).zip(mask.par_chunks(task)).zip(x.par_chunks(task)).zip(dx.par_chunks_mut(task)).for_each(
            |(((dy, mask), x), dx)| {
                let mask = (self.masked != 0).then_some(mask);
                backward_apply(dy, mask, x, &norm, &slopes, self.scale, dx);
            },
        );
    }
}

/// Of `dx = gain * (g - offset - xhat * slope)`, over the lanes.
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
    for (place, (dx, x)) in dx.chunks_mut(width).zip(x.chunks(width)).enumerate() {
        let n = x.len();
        let (dy, mean, rstd) = (&dy[place * width..][..n], &norm.mean[..n], &norm.rstd[..n]);
        let (gain, slope, offset) = (&slopes.gain[..n], &slopes.slope[..n], &slopes.offset[..n]);
        match mask {
            Some(mask) => {
                let mask = &mask[place * width..][..n];
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

params! {
    /// `batch, group_of, control, report -> running`: moves the running statistics of every batch norm whose block
    /// ran towards the batch's.
    pub struct Commit {
        /// Words of statistics.
        words: u32,
        /// Weight of the new batch.
        momentum: f32,
    }
}

impl Commit {
    /// On `words` words of statistics.
    pub fn new(words: u32, momentum: f32) -> Self {
        Self { words, momentum }
    }
}

impl Kernel for Commit {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.words)
    }
    fn cost(&self) -> Cost {
        let words = f64::from(self.words);
        Cost { flop: 3.0 * words, terms: 2.0, loads: 2.0 * words }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let [batch, group_of, control, report] = bindings.reads else { unreachable!("checked by the plan's tests") };
        let batch: &[f32] = bytemuck::cast_slice(batch);
        let running: &mut [f32] = bytemuck::cast_slice_mut(bindings.writes[0]);
        if report[REPORT_NOT_FINITE] != 0 {
            return;
        }
        for ((batch, running), &group) in batch.chunks(GRANULE).zip(running.chunks_mut(GRANULE)).zip(group_of.iter()) {
            if update::mode(control, group) == UPDATE_GRADIENT {
                for (batch, running) in batch.iter().zip(running) {
                    *running += self.momentum * (batch - *running);
                }
            }
        }
    }
}
