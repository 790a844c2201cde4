//! The rows of `control` that tell the optimiser what to do with each parameter group in a step.

use super::options::DroppedUpdate;
use crate::plan::{Gates, Optimizer};
use crate::protocol::{CONTROL_ROW, UPDATE_GRADIENT, UPDATE_SKIP, UPDATE_ZERO, control_row};

/// Counts the updates of each group, as Adam's bias correction needs them.
#[derive(Clone, Debug)]
pub struct UpdateRows {
    optimizer: Optimizer,
    dropped: DroppedUpdate,
    /// Updates so far, by group: what always runs, then each block.
    counts: Vec<u64>,
}

impl UpdateRows {
    /// Before the first update of a net with `blocks` blocks.
    pub fn new(optimizer: Optimizer, dropped: DroppedUpdate, blocks: usize) -> Self {
        Self { optimizer, dropped, counts: vec![0; blocks + 1] }
    }

    /// The updates of each group so far.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Goes on from `counts` updates of each group; from none, if there are none.
    pub fn restore(&mut self, counts: &[u64]) {
        self.counts.fill(0);
        self.counts.iter_mut().zip(counts).for_each(|(count, &restored)| *count = restored);
    }

    /// The rows for the next update, which they count.
    pub fn next(&mut self, learning_rate: f64, gates: &Gates) -> Vec<u32> {
        let survives = |group: usize| group == 0 || gates.survives(group - 1);
        let mut rows = Vec::with_capacity(CONTROL_ROW * self.counts.len());
        for group in 0..self.counts.len() {
            let mode = match (survives(group), self.dropped) {
                (true, _) => UPDATE_GRADIENT,
                (false, DroppedUpdate::ZeroGrad) => UPDATE_ZERO,
                (false, DroppedUpdate::Freeze) => UPDATE_SKIP,
            };
            if mode != UPDATE_SKIP {
                self.counts[group] += 1;
            }
            let [step_size, root_factor] = self.coefficients(learning_rate, self.counts[group]);
            rows.extend(control_row(mode, step_size, root_factor));
        }
        rows
    }

    /// Rows under which an update leaves everything as it is.
    pub fn skip(&self) -> Vec<u32> {
        control_row(UPDATE_SKIP, 0.0, 0.0).repeat(self.counts.len())
    }

    /// Returns the step size and the root factor of a group, at its update number `count` (from 1).
    fn coefficients(&self, learning_rate: f64, count: u64) -> [f32; 2] {
        match self.optimizer {
            Optimizer::Adam { beta1, beta2, .. } => {
                // Kingma and Ba 2015, algorithm 1, as PyTorch arranges it: in f64, as 1 - 0.999^t cancels in f32.
                let correction = |beta: f64| 1.0 - beta.powi(count.min(1 << 30) as i32);
                [(learning_rate / correction(beta1)) as f32, (1.0 / correction(beta2).sqrt()) as f32]
            }
            Optimizer::Sgd { .. } => [learning_rate as f32, 0.0],
        }
    }
}
