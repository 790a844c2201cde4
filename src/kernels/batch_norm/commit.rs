//! Moves the running statistics towards the batch's.

use crate::dispatch::{Bindings, Cost, Input, Kernel};
use crate::kernels::{element_workgroups, params, shader, update};
use crate::protocol::{GRANULE, REPORT_NOT_FINITE, UPDATE_GRADIENT};

shader! { COMMIT: "batch_norm_commit", family: batch_norm, reads: 4, writes: 1, params: Commit }

params! {
    /// `batch, group_of, control, report -> running`: moves the running statistics of every batch
    /// norm whose block ran towards the batch's.
    pub struct Commit {
        /// Elements of the statistics.
        elements: u32,
        /// Weight of the new batch.
        momentum: f32,
    }
}

impl Kernel for Commit {
    fn workgroups(&self) -> u32 {
        element_workgroups(self.elements)
    }
    fn cost(&self) -> Cost {
        let elements = f64::from(self.elements);
        Cost { flop: 3.0 * elements, terms: 2.0, loads: 2.0 * elements }
    }
    fn twin(&self, bindings: Bindings<'_, '_>) {
        let ([batch, integers @ ..], [running]) = bindings.values::<4, 1>();
        let (batch, running) = (batch.f32(), running.f32());
        let [group_of, control, report] = integers.map(Input::u32);
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
