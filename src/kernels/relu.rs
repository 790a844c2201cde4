//! The rectifier on its own, where no batch norm stands before it to do it in passing.

use multiversion::multiversion;
use rayon::prelude::*;

use super::{element_workgroups, lanes, params, shader};
use crate::dispatch::{Bindings, Cost, Kernel};

shader! { RELU: "relu", family: relu, reads: 1, writes: 1, params: Relu }

params! {
    /// `x -> y`: max(x, 0), letting NaN through.
    pub struct Relu {
        /// Elements of `x`.
        elements: u32,
    }
}

impl Kernel for Relu {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.elements)
    }
    fn cost(&self) -> Cost {
        let elements = f64::from(self.elements);
        Cost { flop: elements, terms: 1.0, loads: elements }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([x], [y]) = bindings.f32();
        let task = lanes::task(1);
        x.par_chunks(task).zip(y.par_chunks_mut(task)).for_each(|(x, y)| rectify(x, y));
    }
}

/// max(x, 0) that lets NaN through, as the shaders do.
#[inline(always)]
pub(crate) fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// `number` where `mask`, the output of a ReLU, is above 0, else 0: how a gradient goes back through it.
#[inline(always)]
pub(crate) fn where_positive(mask: f32, number: f32) -> f32 {
    // By bits, as the compiler makes a branch for each element of a choice between a number and 0.
    f32::from_bits(number.to_bits() & u32::from(mask > 0.0).wrapping_neg())
}

#[multiversion(targets("x86_64+avx2+fma"))]
fn rectify(x: &[f32], y: &mut [f32]) {
    for (x, y) in x.iter().zip(y) {
        *y = relu(*x);
    }
}
