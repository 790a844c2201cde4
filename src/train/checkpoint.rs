//! What a run is made of between two steps.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::all_gates_time::AllGatesTime;
use crate::model::weights::Weights;

/// Everything that a run needs to go on after a step as if it had never stopped.
///
/// Batches, gates, dropout masks and learning rates are functions of the seed and the step: they need no place here.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Parameters and running statistics, in the order of the net's parameters.
    pub weights: Weights,
    /// What the optimiser keeps, in the order of [`Optimizer::moments`](crate::plan::Optimizer::moments), each with the
    /// names and shapes of the parameters. Empty before the first step: all zero.
    pub moments: Vec<Weights>,
    /// The best weights on the validation images so far, if any were chosen.
    pub best: Option<Arc<Best>>,
    /// What is counted.
    pub counters: Counters,
}

/// The best weights of a run so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// Share of correct predictions on the validation images.
    pub accuracy: f64,
    /// Step of the weights, from 1.
    pub step: u64,
    /// The weights.
    pub weights: Weights,
}

/// What a run counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Counters {
    /// Training steps done.
    pub step: u64,
    /// Updates of each parameter group: what always runs, then each block. Empty before the first step.
    pub updates: Vec<u64>,
    /// Blocks that ran, over all steps.
    pub blocks_run: u64,
    /// Steps whose update was left out because a value was not finite.
    pub steps_left_out: u64,
    /// Wall time of the run.
    pub time: Duration,
    /// Wall time of its training steps.
    pub step_time: Duration,
    /// What the steps would have taken with all gates on.
    pub all_gates: AllGatesTime,
}

impl Checkpoint {
    /// The begin of a run from `weights`.
    pub fn begin(weights: Weights) -> Self {
        Self { weights, moments: Vec::new(), best: None, counters: Counters::default() }
    }
}

impl Counters {
    /// Whether a run of `steps` steps, with `groups` parameter groups, can have come to these numbers.
    pub fn are_possible(&self, steps: u64, groups: usize) -> bool {
        const LONGEST: Duration = Duration::from_secs(1 << 32);
        let Self { step, updates, blocks_run, steps_left_out, time, step_time, all_gates } = self;
        let times = [*time, *step_time, all_gates.total()];
        *step <= steps
            && updates.len() == groups
            && updates.iter().all(|updates| updates <= step)
            && *blocks_run <= step.saturating_mul(groups as u64)
            && steps_left_out <= step
            && times.iter().all(|&time| time <= LONGEST)
    }
}
