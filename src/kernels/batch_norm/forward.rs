//! Normalises activations, alone or at the end of a residual block.

use multiversion::multiversion;
use rayon::prelude::*;

use super::Norm;
use crate::dispatch::{Bindings, Cost, Kernel};
use crate::kernels::relu::relu;
use crate::kernels::{element_workgroups, lanes, params, shader};

shader! { APPLY: "batch_norm_apply", family: batch_norm, reads: 2, writes: 1, params: Apply }
shader! {
    RESIDUAL: "batch_norm_residual", family: batch_norm,
    reads: 3, writes: 1, params: Residual
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
    fn twin(&self, bindings: Bindings<'_, '_>) {
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
pub(in crate::kernels) fn apply(x: &[f32], norm: &Norm, relu: bool, y: &mut [f32]) {
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

impl Kernel for Residual {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.pixels * self.channels)
    }
    fn cost(&self) -> Cost {
        let elements = f64::from(self.pixels) * f64::from(self.channels);
        Cost { flop: 6.0 * elements, terms: 2.0, loads: 6.0 * elements }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
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
