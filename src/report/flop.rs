//! What the steps of a net take in floating-point operations, by its plan.

use super::runs::Run;
use crate::data::DataSet;
use crate::dispatch::Limits;
use crate::plan::{DataSizes, Gates, Plan};

/// Floating-point operations of a step, on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flop {
    /// With all gates on.
    pub all_gates: f64,
    /// Expected over the draws of the gates: the promise.
    pub promised: f64,
    /// By the gates that were drawn.
    pub done: f64,
}

/// A device that everything fits on: what is counted does not depend on it.
const ROOMY: Limits = Limits { binding_words: usize::MAX >> 3, buffer_words: usize::MAX >> 3, total_words: usize::MAX };

impl Flop {
    /// Of the steps of `run`; `data` is its data set. `None` if its settings don't fit that.
    pub fn of(run: &Run, data: &DataSet) -> Option<Self> {
        let settings = &run.config.settings;
        let net = settings.net(data.train.channels, data.classes).ok()?;
        let sizes = DataSizes {
            height: data.train.height,
            width: data.train.width,
            train: data.train.len(),
            test: data.test.len(),
        };
        let plan = Plan::new(&net, &settings.plan(&net, sizes, ROOMY, false).ok()?).ok()?;
        let blocks = plan.blocks.len();
        let all_gates = plan.step_flop(&Gates::all(blocks));
        // What a dropped block leaves out does not depend on the others.
        let left_out = |block: usize| {
            let gates = Gates((0..blocks).map(|other| other != block).collect());
            all_gates - plan.step_flop(&gates)
        };
        let rates = run.gates.rates();
        let done = (rates.len() == blocks)
            .then(|| all_gates - (0..blocks).map(|block| (1.0 - rates[block]) * left_out(block)).sum::<f64>())?;
        Some(Self { all_gates, promised: plan.expected_flop(), done })
    }
}
