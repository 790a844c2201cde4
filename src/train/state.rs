//! The state of a run between two steps: the host's part of a checkpoint.

use std::sync::Arc;
use std::time::Duration;

use super::checkpoint::{Best, Checkpoint, Counters};
use super::update_rows::UpdateRows;
use crate::model::weights::Weights;

/// How far a run is.
pub(super) struct RunState {
    /// The next step to submit, from 0.
    pub next: u64,
    /// Updates of each parameter group, by all steps submitted.
    pub rows: UpdateRows,
    /// The best weights so far, if any were chosen.
    pub best: Option<Arc<Best>>,
    /// Sums over the steps that have reported. Its `step`, `updates` and `time` are those of the
    /// last checkpoint.
    pub counters: Counters,
}

impl RunState {
    /// Before the first step.
    pub fn new(rows: UpdateRows) -> Self {
        Self { next: 0, rows, best: None, counters: Counters::default() }
    }

    /// Returns the checkpoint of a run that has taken `time` and has `weights` and `moments` on its
    /// device, where no step is in flight.
    pub fn checkpoint(&self, weights: Weights, moments: Vec<Weights>, time: Duration) -> Checkpoint {
        let (step, updates) = (self.next, self.rows.counts().to_vec());
        let counters = Counters { step, updates, time, ..self.counters.clone() };
        Checkpoint { weights, moments, best: self.best.clone(), counters }
    }

    /// Goes back, or on, to `checkpoint`.
    pub fn restore(&mut self, checkpoint: &Checkpoint) {
        self.next = checkpoint.counters.step;
        self.rows.restore(&checkpoint.counters.updates);
        self.best = checkpoint.best.clone();
        self.counters = checkpoint.counters.clone();
    }
}
