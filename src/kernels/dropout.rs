//! Dropout (Srivastava et al. 2014), scaled in training so that inference needs none of it.

use rayon::prelude::*;

use super::{element_workgroups, lanes, params, shader};
use crate::dispatch::{Bindings, Cost, Kernel};
use crate::protocol::{CONTROL_STEP, control_seed};
use crate::rng::{self, Stream};

shader! { DROPOUT: "dropout", family: dropout, reads: 2, writes: 1, params: Dropout }

/// Elements that share a block of random words.
const BLOCK: usize = 4;

params! {
    /// `x, control -> y`: zeroes elements at random and scales the others up. The same draw serves `dy -> dx`.
    pub struct Dropout {
        /// Elements of `x`.
        elements: u32,
        /// Share of the elements that are dropped.
        probability: f32,
        /// 1 / (1 - probability)
        scale: f32,
    }
}

impl Dropout {
    /// On `elements` elements, each dropped with `probability` in [0, 1).
    pub fn new(elements: u32, probability: f32) -> Self {
        Self { elements, probability, scale: 1.0 / (1.0 - probability) }
    }

    /// The elements whose first is the first of block number `block`.
    fn apply(&self, seed: u64, step: u32, block: usize, x: &[f32], y: &mut [f32]) {
        for ((x, y), block) in x.chunks(BLOCK).zip(y.chunks_mut(BLOCK)).zip(block as u32..) {
            let words = rng::philox(seed, Stream::Dropout, step, block);
            for ((x, y), word) in x.iter().zip(y).zip(words) {
                *y = if rng::unit(word) >= self.probability { self.scale * x } else { 0.0 };
            }
        }
    }
}

impl Kernel for Dropout {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.elements.div_ceil(BLOCK as u32))
    }
    fn cost(&self) -> Cost {
        let elements = f64::from(self.elements);
        Cost { flop: elements, terms: 1.0, loads: elements }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([x, control], [y]) = bindings.values();
        let (x, control, y) = (x.f32(), control.u32(), y.f32());
        let (step, seed) = (control[CONTROL_STEP], control_seed(control));
        let task = lanes::task(BLOCK);
        x.par_chunks(task)
            .zip(y.par_chunks_mut(task))
            .enumerate()
            .for_each(|(chunk, (x, y))| self.apply(seed, step, chunk * task / BLOCK, x, y));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::{Input, Output};

    #[test]
    fn drops_the_share_asked_for_by_the_numbers_of_the_generator() {
        let (count, probability, seed, step) = (100_003, 0.4, 0x0123_4567_89ab_cdef_u64, 17);
        let x = vec![3.0f32; count];
        let mut y = vec![0.0f32; count];
        let control = [0, step, seed as u32, (seed >> 32) as u32];
        Dropout::new(count as u32, probability)
            .twin(Bindings { reads: &[Input::F32(&x), Input::U32(&control)], writes: &mut [Output::F32(&mut y)] });

        for (i, &y) in y.iter().enumerate() {
            let kept = rng::uniform(seed, Stream::Dropout, step, i as u32) >= probability;
            assert_eq!(y, if kept { 3.0 / 0.6 } else { 0.0 }, "element {i}");
        }
        let dropped = y.iter().filter(|&&y| y == 0.0).count() as f32 / count as f32;
        // Four standard deviations of the mean of as many draws.
        assert!((dropped - probability).abs() < 4.0 * (0.4f32 * 0.6 / count as f32).sqrt(), "{dropped}");
    }
}
