//! Adam (Kingma and Ba 2015) with PyTorch's formula: epsilon counts after the bias correction, and weight decay
//! belongs to the gradient.

use multiversion::multiversion;
use rayon::prelude::*;

use super::{element_workgroups, lanes, params, shader, update};
use crate::dispatch::{Bindings, Cost, Input, Kernel, Output};
use crate::protocol::{GRANULE, REPORT_NOT_FINITE, ROW_ROOT_FACTOR, ROW_STEP_SIZE};

shader! { ADAM: "adam", family: adam, reads: 4, writes: 3, params: Adam }

params! {
    /// `gradients, group_of, control, report -> parameters, first_moment, second_moment`.
    ///
    /// The coefficients of a group's row in `control` are rate / (1 - beta1^t) and 1 / sqrt(1 - beta2^t), where t
    /// counts the group's updates from 1.
    pub struct Adam {
        /// Parameters.
        elements: u32,
        /// 1 - beta1
        beta1_complement: f32,
        /// Decay of the second moment.
        beta2: f32,
        /// 1 - beta2
        beta2_complement: f32,
        /// Added to the root of the second moment.
        epsilon: f32,
        /// Factor of the parameters in their gradient.
        weight_decay: f32,
    }
}

impl Adam {
    /// On `elements` parameters. In f64 for the sake of the complements: 1 - 0.999 in f32 has four
    /// right digits.
    pub fn new(elements: u32, beta1: f64, beta2: f64, epsilon: f64, weight_decay: f64) -> Self {
        Self {
            elements,
            beta1_complement: (1.0 - beta1) as f32,
            beta2: beta2 as f32,
            beta2_complement: (1.0 - beta2) as f32,
            epsilon: epsilon as f32,
            weight_decay: weight_decay as f32,
        }
    }
}

impl Kernel for Adam {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.elements)
    }
    fn cost(&self) -> Cost {
        let elements = f64::from(self.elements);
        Cost { flop: 14.0 * elements, terms: 3.0, loads: 8.0 * elements }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([gradients, integers @ ..], writes) = bindings.values::<4, 3>();
        let (gradients, [group_of, control, report]) = (gradients.f32(), integers.map(Input::u32));
        let [parameters, first_moment, second_moment] = writes.map(Output::f32);
        if report[REPORT_NOT_FINITE] != 0 {
            return;
        }
        let task = lanes::task(GRANULE);
        gradients
            .par_chunks(task)
            .zip(group_of.par_chunks(task / GRANULE))
            .zip(parameters.par_chunks_mut(task))
            .zip(first_moment.par_chunks_mut(task))
            .zip(second_moment.par_chunks_mut(task))
            .for_each(|((((gradients, group_of), w), m), v)| step(self, control, group_of, gradients, w, m, v));
    }
}

/// Updates some granules, of the groups `group_of`.
#[multiversion(targets("x86_64+avx2+fma"))]
fn step(p: &Adam, control: &[u32], group_of: &[u32], gradients: &[f32], w: &mut [f32], m: &mut [f32], v: &mut [f32]) {
    let moments = m.chunks_mut(GRANULE).zip(v.chunks_mut(GRANULE));
    for (((gradient, w), (m, v)), &group) in
        gradients.chunks(GRANULE).zip(w.chunks_mut(GRANULE)).zip(moments).zip(group_of)
    {
        let Some(gradient) = update::effective_gradient(control, group, gradient) else { continue };
        let a = update::coefficient(control, group, ROW_STEP_SIZE);
        let b = update::coefficient(control, group, ROW_ROOT_FACTOR);
        let n = w.len();
        let (m, v) = (&mut m[..n], &mut v[..n]);
        for i in 0..n {
            let g = gradient[i] + p.weight_decay * w[i];
            m[i] += p.beta1_complement * (g - m[i]);
            v[i] = p.beta2 * v[i] + p.beta2_complement * g * g;
            w[i] -= a * m[i] / (v[i].sqrt() * b + p.epsilon);
        }
    }
}
