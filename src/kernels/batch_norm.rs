//! Batch normalisation over NHWC activations: training and inference, forward and backward.
//!
//! Ioffe and Szegedy 2015, with PyTorch's conventions: the batch is normalised with its biased variance, the
//! running variance is unbiased, and `momentum` is the weight of the new batch.
//!
//! Statistics are (mean, sum of squared deviations) of fixed chunks of pixels, merged by Chan's formula. The chunks
//! depend on the tensor's shape alone, so results do too.

use multiversion::multiversion;
use rayon::prelude::*;

use super::relu::relu;
use super::update::{self, GRANULE};
use super::{element_workgroups, lanes, params, report, shader};
use crate::dispatch::{Bindings, Cost, Kernel};

shader! { STATISTICS: "batch_norm_statistics", reads: 1, writes: 1, params: Statistics }
shader! { FINISH: "batch_norm_finish", reads: 1, writes: 3, params: Finish }
shader! { RUNNING: "batch_norm_running", reads: 2, writes: 1, params: Running }
shader! { APPLY: "batch_norm_apply", reads: 4, writes: 1, params: Apply }
shader! { RESIDUAL: "batch_norm_residual", reads: 5, writes: 1, params: Residual }
shader! { BACKWARD_REDUCE: "batch_norm_backward_reduce", reads: 4, writes: 1, params: BackwardReduce }
shader! { BACKWARD_FINISH: "batch_norm_backward_finish", reads: 1, writes: 2, params: BackwardFinish }
shader! { BACKWARD_APPLY: "batch_norm_backward_apply", reads: 7, writes: 1, params: BackwardApply }
shader! { COMMIT: "batch_norm_commit", reads: 4, writes: 1, params: Commit }

/// Pixels in a chunk of the statistics.
pub const CHUNK_PIXELS: u32 = 512;

/// Words in the partial sums of `pixels` x `channels`: two per chunk and channel.
pub fn partial_words(pixels: u32, channels: u32) -> usize {
    2 * pixels.div_ceil(CHUNK_PIXELS) as usize * channels as usize
}

/// Channels that one workgroup of the chunked reductions covers.
const CHANNEL_TILE: u32 = 16;

params! {
    /// `x -> partials`: mean and squared deviations of each chunk.
    pub struct Statistics {
        /// batch x height x width
        pixels: u32,
        /// Channels of `x`.
        channels: u32,
        /// Pixels in a chunk.
        chunk_pixels: u32,
    }
}

impl Statistics {
    /// Of a tensor `[pixels, channels]`.
    pub fn new(pixels: u32, channels: u32) -> Self {
        Self { pixels, channels, chunk_pixels: CHUNK_PIXELS }
    }
}

impl Kernel for Statistics {
    fn workgroups(&self) -> u32 {
        self.pixels.div_ceil(self.chunk_pixels) * self.channels.div_ceil(CHANNEL_TILE)
    }
    fn cost(&self) -> Cost {
        let elements = f64::from(self.pixels) * f64::from(self.channels);
        Cost { flop: 4.0 * elements, terms: f64::from(self.chunk_pixels), loads: elements }
    }
    fn twin(&self, mut bindings: Bindings<'_, '_>) {
        let ([x], [partials]) = bindings.f32();
        let channels = self.channels as usize;
        let chunk = self.chunk_pixels as usize * channels;
        x.par_chunks(chunk).zip(partials.par_chunks_mut(2 * channels)).for_each(|(x, partial)| {
            let (mean, m2) = partial.split_at_mut(channels);
            chunk_moments(x, mean, m2);
        });
    }
}

/// Mean and sum of squared deviations of each channel of `x`, in two passes.
#[multiversion(targets("x86_64+avx2+fma"))]
fn chunk_moments(x: &[f32], mean: &mut [f32], m2: &mut [f32]) {
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

/// Count, mean and sum of squared deviations of a set of numbers.
#[derive(Clone, Copy, Default)]
struct Moments {
    count: f32,
    mean: f32,
    m2: f32,
}

impl Moments {
    /// The union of both sets (Chan, Golub and LeVeque 1979).
    fn merge(self, other: Self) -> Self {
        let count = self.count + other.count;
        let share = other.count / count;
        let delta = other.mean - self.mean;
        Self { count, mean: self.mean + delta * share, m2: self.m2 + other.m2 + delta * delta * self.count * share }
    }
}

params! {
    /// `partials -> statistics, batch_mean, batch_var`.
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
    /// Of the partials of a tensor `[pixels, channels]`.
    pub fn new(pixels: u32, channels: u32, epsilon: f32) -> Self {
        Self { pixels, channels, chunk_pixels: CHUNK_PIXELS, epsilon }
    }
}

impl Kernel for Finish {
    fn workgroups(&self) -> u32 {
        self.channels
    }
    fn cost(&self) -> Cost {
        let partials = partial_words(self.pixels, self.channels) as f64;
        Cost { flop: 5.0 * partials, terms: f64::from(self.pixels), loads: partials }
    }
    fn twin(&self, mut bindings: Bindings<'_, '_>) {
        let ([partials], [statistics, batch_mean, batch_var]) = bindings.f32();
        let channels = self.channels as usize;
        for c in 0..channels {
            let mut total = Moments::default();
            let mut left = self.pixels;
            for chunk in partials.chunks(2 * channels) {
                let count = left.min(self.chunk_pixels);
                left -= count;
                total = total.merge(Moments { count: count as f32, mean: chunk[c], m2: chunk[channels + c] });
            }
            statistics[c] = total.mean;
            statistics[channels + c] = 1.0 / (total.m2 / total.count + self.epsilon).sqrt();
            batch_mean[c] = total.mean;
            batch_var[c] = total.m2 / (total.count - 1.0);
        }
    }
}

params! {
    /// `running_mean, running_var -> statistics`, for inference.
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
        Cost { flop: 3.0 * channels, terms: 1.0, loads: 2.0 * channels }
    }
    fn twin(&self, mut bindings: Bindings<'_, '_>) {
        let ([running_mean, running_var], [statistics]) = bindings.f32();
        let (mean, rstd) = statistics.split_at_mut(self.channels as usize);
        mean.copy_from_slice(running_mean);
        for (rstd, var) in rstd.iter_mut().zip(running_var) {
            *rstd = 1.0 / (var + self.epsilon).sqrt();
        }
    }
}

/// Mean, 1 / deviation, gamma and beta of every channel, repeated over the lanes.
struct Affine {
    mean: Vec<f32>,
    rstd: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

impl Affine {
    fn new(statistics: &[f32], gamma: &[f32], beta: &[f32]) -> Self {
        let (mean, rstd) = statistics.split_at(gamma.len());
        Self {
            mean: lanes::spread(mean),
            rstd: lanes::spread(rstd),
            gamma: lanes::spread(gamma),
            beta: lanes::spread(beta),
        }
    }
}

params! {
    /// `x, statistics, gamma, beta -> y`: normalise, scale and shift, then ReLU if asked.
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
        let ([x, statistics, gamma, beta], [y]) = bindings.f32();
        let affine = Affine::new(statistics, gamma, beta);
        let task = lanes::task(self.channels as usize);
        x.par_chunks(task).zip(y.par_chunks_mut(task)).for_each(|(x, y)| {
            apply(x, &affine, if self.relu != 0 { 0.0 } else { f32::NEG_INFINITY }, y);
        });
    }
}

#[multiversion(targets("x86_64+avx2+fma"))]
fn apply(x: &[f32], affine: &Affine, floor: f32, y: &mut [f32]) {
    let width = affine.mean.len();
    for (x, y) in x.chunks(width).zip(y.chunks_mut(width)) {
        let (mean, rstd) = (&affine.mean[..x.len()], &affine.rstd[..x.len()]);
        let (gamma, beta) = (&affine.gamma[..x.len()], &affine.beta[..x.len()]);
        for i in 0..x.len() {
            let value = (x[i] - mean[i]) * rstd[i] * gamma[i] + beta[i];
            y[i] = if value < floor { floor } else { value };
        }
    }
}

params! {
    /// `x, statistics, gamma, beta, shortcut -> y`: the end of a residual block,
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
        let ([x, statistics, gamma, beta, shortcut], [y]) = bindings.f32();
        let affine = Affine::new(statistics, gamma, beta);
        let task = lanes::task(self.channels as usize);
        x.par_chunks(task)
            .zip(shortcut.par_chunks(task))
            .zip(y.par_chunks_mut(task))
            .for_each(|((x, shortcut), y)| residual(x, &affine, self.scale, shortcut, y));
    }
}

#[multiversion(targets("x86_64+avx2+fma"))]
fn residual(x: &[f32], affine: &Affine, scale: f32, shortcut: &[f32], y: &mut [f32]) {
    let width = affine.mean.len();
    for ((x, shortcut), y) in x.chunks(width).zip(shortcut.chunks(width)).zip(y.chunks_mut(width)) {
        let (mean, rstd) = (&affine.mean[..x.len()], &affine.rstd[..x.len()]);
        let (gamma, beta) = (&affine.gamma[..x.len()], &affine.beta[..x.len()]);
        for i in 0..x.len() {
            let branch = (x[i] - mean[i]) * rstd[i] * gamma[i] + beta[i];
            y[i] = relu(scale * branch + shortcut[i]);
        }
    }
}

params! {
    /// `dy, mask, x, statistics -> partials`: chunk sums of the gradients of beta and gamma, where `mask` is the
    /// output of the ReLU behind.
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
        Self { pixels, channels, chunk_pixels: CHUNK_PIXELS, scale }
    }
}

impl Kernel for BackwardReduce {
    fn workgroups(&self) -> u32 {
        self.pixels.div_ceil(self.chunk_pixels) * self.channels.div_ceil(CHANNEL_TILE)
    }
    fn cost(&self) -> Cost {
        let elements = f64::from(self.pixels) * f64::from(self.channels);
        Cost { flop: 6.0 * elements, terms: f64::from(self.chunk_pixels), loads: 3.0 * elements }
    }
    fn twin(&self, mut bindings: Bindings<'_, '_>) {
        let ([dy, mask, x, statistics], [partials]) = bindings.f32();
        let channels = self.channels as usize;
        let chunk = self.chunk_pixels as usize * channels;
        let (mean, rstd) = statistics.split_at(channels);
        let (mean, rstd) = (lanes::spread(mean), lanes::spread(rstd));
        dy.par_chunks(chunk)
            .zip(mask.par_chunks(chunk))
            .zip(x.par_chunks(chunk))
            .zip(partials.par_chunks_mut(2 * channels))
            .for_each(|(((dy, mask), x), partial)| backward_reduce(dy, mask, x, &mean, &rstd, self.scale, partial));
    }
}

#[multiversion(targets("x86_64+avx2+fma"))]
fn backward_reduce(dy: &[f32], mask: &[f32], x: &[f32], mean: &[f32], rstd: &[f32], scale: f32, partial: &mut [f32]) {
    let width = mean.len();
    let (mut sum_g, mut sum_gx) = (vec![0.0f32; width], vec![0.0f32; width]);
    for ((dy, mask), x) in dy.chunks(width).zip(mask.chunks(width)).zip(x.chunks(width)) {
        let n = x.len();
        let (dy, mask, mean, rstd) = (&dy[..n], &mask[..n], &mean[..n], &rstd[..n]);
        let (sum_g, sum_gx) = (&mut sum_g[..n], &mut sum_gx[..n]);
        for i in 0..n {
            let g = if mask[i] > 0.0 { scale * dy[i] } else { 0.0 };
            sum_g[i] += g;
            sum_gx[i] += g * (x[i] - mean[i]) * rstd[i];
        }
    }
    let (g, gx) = partial.split_at_mut(partial.len() / 2);
    lanes::sum(&sum_g, g);
    lanes::sum(&sum_gx, gx);
}

params! {
    /// `partials -> dgamma, dbeta`.
    pub struct BackwardFinish {
        /// batch x height x width
        pixels: u32,
        /// Channels.
        channels: u32,
        /// Pixels in a chunk.
        chunk_pixels: u32,
    }
}

impl BackwardFinish {
    /// Of the partials of a tensor `[pixels, channels]`.
    pub fn new(pixels: u32, channels: u32) -> Self {
        Self { pixels, channels, chunk_pixels: CHUNK_PIXELS }
    }
}

impl Kernel for BackwardFinish {
    fn workgroups(&self) -> u32 {
        self.channels
    }
    fn cost(&self) -> Cost {
        let partials = partial_words(self.pixels, self.channels) as f64;
        Cost { flop: partials, terms: f64::from(self.pixels), loads: partials }
    }
    fn twin(&self, mut bindings: Bindings<'_, '_>) {
        let ([partials], [dgamma, dbeta]) = bindings.f32();
        let channels = self.channels as usize;
        dgamma.fill(0.0);
        dbeta.fill(0.0);
        for chunk in partials.chunks(2 * channels) {
            for c in 0..channels {
                dbeta[c] += chunk[c];
                dgamma[c] += chunk[channels + c];
            }
        }
    }
}

params! {
    /// `dy, mask, x, statistics, gamma, dgamma, dbeta -> dx`.
    pub struct BackwardApply {
        /// batch x height x width
        pixels: u32,
        /// Channels of `x`.
        channels: u32,
        /// Factor of the branch in the forward pass.
        scale: f32,
    }
}

impl BackwardApply {
    /// On tensors `[pixels, channels]`.
    pub fn new(pixels: u32, channels: u32, scale: f32) -> Self {
        Self { pixels, channels, scale }
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
        let ([dy, mask, x, statistics, gamma, dgamma, dbeta], [dx]) = bindings.f32();
        let (mean, rstd) = statistics.split_at(self.channels as usize);
        let share = 1.0 / self.pixels as f32;
        // dx = gain * (g - offset - xhat * slope)
        let gain: Vec<f32> = gamma.iter().zip(rstd).map(|(gamma, rstd)| gamma * rstd).collect();
        let slope: Vec<f32> = dgamma.iter().map(|dgamma| dgamma * share).collect();
        let offset: Vec<f32> = dbeta.iter().map(|dbeta| dbeta * share).collect();
        let coefficients = [mean, rstd, &gain, &slope, &offset].map(lanes::spread);
        let task = lanes::task(self.channels as usize);
        dy.par_chunks(task)
            .zip(mask.par_chunks(task))
            .zip(x.par_chunks(task))
            .zip(dx.par_chunks_mut(task))
            .for_each(|(((dy, mask), x), dx)| backward_apply(dy, mask, x, &coefficients, self.scale, dx));
    }
}

#[multiversion(targets("x86_64+avx2+fma"))]
fn backward_apply(dy: &[f32], mask: &[f32], x: &[f32], coefficients: &[Vec<f32>; 5], scale: f32, dx: &mut [f32]) {
    let width = coefficients[0].len();
    for (((dy, mask), x), dx) in dy.chunks(width).zip(mask.chunks(width)).zip(x.chunks(width)).zip(dx.chunks_mut(width))
    {
        let n = x.len();
        let [mean, rstd, gain, slope, offset] = coefficients.each_ref().map(|coefficient| &coefficient[..n]);
        let (dy, mask, dx) = (&dy[..n], &mask[..n], &mut dx[..n]);
        for i in 0..n {
            let g = if mask[i] > 0.0 { scale * dy[i] } else { 0.0 };
            dx[i] = gain[i] * (g - offset[i] - (x[i] - mean[i]) * rstd[i] * slope[i]);
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
        if report[report::NOT_FINITE] != 0 {
            return;
        }
        for ((batch, running), &group) in batch.chunks(GRANULE).zip(running.chunks_mut(GRANULE)).zip(group_of.iter()) {
            if update::mode(control, group) == update::GRADIENT {
                for (batch, running) in batch.iter().zip(running) {
                    *running += self.momentum * (batch - *running);
                }
            }
        }
    }
}
