//! Stochastic gradient descent with momentum, PyTorch's formula: weight decay belongs to the gradient, and the rate
//! is not part of the buffer.

use multiversion::multiversion;
use rayon::prelude::*;

use super::{element_workgroups, lanes, params, shader, update};
use crate::dispatch::{Bindings, Cost, Input, Kernel, Output};
use crate::protocol::{GRANULE, REPORT_NOT_FINITE, ROW_STEP_SIZE};

shader! { SGD: "sgd", family: sgd, reads: 4, writes: 2, params: Sgd }

params! {
    /// `gradients, group_of, control, report -> parameters, momentum_buffer`.
    ///
    /// The first coefficient of a group's row in `control` is the learning rate. A buffer of zeros starts as PyTorch's
    /// does, with the first gradient undamped.
    pub struct Sgd {
        /// Parameters.
        elements: u32,
        /// Decay of the buffer.
        momentum: f32,
        /// 1: Nesterov's momentum, which looks one step ahead; 0: the plain one.
        nesterov: u32,
        /// Factor of the parameters in their gradient.
        weight_decay: f32,
    }
}

impl Sgd {
    /// On `elements` parameters.
    pub fn new(elements: u32, momentum: f64, nesterov: bool, weight_decay: f64) -> Self {
        Self { elements, momentum: momentum as f32, nesterov: nesterov.into(), weight_decay: weight_decay as f32 }
    }
}

impl Kernel for Sgd {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.elements)
    }
    fn cost(&self) -> Cost {
        let elements = f64::from(self.elements);
        Cost { flop: 8.0 * elements, terms: 4.0, loads: 6.0 * elements }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([gradients, integers @ ..], writes) = bindings.values::<4, 2>();
        let (gradients, [group_of, control, report]) = (gradients.f32(), integers.map(Input::u32));
        let [parameters, momentum_buffer] = writes.map(Output::f32);
        if report[REPORT_NOT_FINITE] != 0 {
            return;
        }
        let task = lanes::task(GRANULE);
        gradients
            .par_chunks(task)
            .zip(group_of.par_chunks(task / GRANULE))
            .zip(parameters.par_chunks_mut(task))
            .zip(momentum_buffer.par_chunks_mut(task))
            .for_each(|(((gradients, group_of), w), buffer)| step(self, control, group_of, gradients, w, buffer));
    }
}

/// Updates some granules, of the groups `group_of`.
#[multiversion(targets("x86_64+avx2+fma"))]
fn step(p: &Sgd, control: &[u32], group_of: &[u32], gradients: &[f32], w: &mut [f32], buffer: &mut [f32]) {
    for (((gradient, w), buffer), &group) in
        gradients.chunks(GRANULE).zip(w.chunks_mut(GRANULE)).zip(buffer.chunks_mut(GRANULE)).zip(group_of)
    {
        let Some(gradient) = update::effective_gradient(control, group, gradient) else { continue };
        let rate = update::coefficient(control, group, ROW_STEP_SIZE);
        let n = w.len();
        let buffer = &mut buffer[..n];
        for i in 0..n {
            let g = gradient[i] + p.weight_decay * w[i];
            buffer[i] = p.momentum * buffer[i] + g;
            let direction = if p.nesterov != 0 { g + p.momentum * buffer[i] } else { buffer[i] };
            w[i] -= rate * direction;
        }
    }
}
