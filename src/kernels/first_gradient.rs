//! How large the gradient is that arrives at the first convolution: it shrinks on its way back through a deep net.

use super::{params, shader};
use crate::dispatch::{Bindings, Cost, Kernel};
use crate::protocol::{REPORT_FIRST_GRADIENT, WORKGROUP};

shader! {
    FIRST_GRADIENT: "first_gradient", family: first_gradient,
    reads: 1, writes: 1, params: FirstGradient
}

params! {
    /// `gradient -> report`: sets word 4 of the report to the mean of |gradient|, as f32 bits.
    ///
    /// Against the step, it is the figure on vanishing gradients of Huang et al. 2016.
    pub struct FirstGradient {
        /// Number of weights.
        elements: u32,
    }
}

impl Kernel for FirstGradient {
    fn workgroups(&self) -> u32 {
        1
    }
    fn cost(&self) -> Cost {
        let elements = f64::from(self.elements);
        Cost { flop: elements, terms: elements, loads: elements }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([gradient], [report]) = bindings.values();
        let mut lanes = [0.0; WORKGROUP as usize];
        for words in gradient.f32().chunks(lanes.len()) {
            lanes.iter_mut().zip(words).for_each(|(lane, word)| *lane += word.abs());
        }
        let mut half = lanes.len() / 2;
        while half > 0 {
            let (sums, others) = lanes.split_at_mut(half);
            sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += *other);
            half /= 2;
        }
        report.u32()[REPORT_FIRST_GRADIENT] = (lanes[0] / self.elements as f32).to_bits();
    }
}
