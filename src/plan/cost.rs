//! What `sdgpu plan` shows of a plan: dispatches with their costs, values with their lives.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Gates, Plan, Runs, Template};
use crate::dispatch::{Cost, Dispatch, ValueId};
use crate::kernels::conv;

/// Which part of a step a dispatch belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// From images to loss.
    Forward,
    /// From loss to gradients.
    Backward,
    /// From gradients to weights.
    Update,
}

impl Pass {
    /// All, in a step's order.
    pub const ALL: [Self; 3] = [Self::Forward, Self::Backward, Self::Update];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Update => "update",
        }
    }
}

/// One dispatch with what it costs.
#[derive(Clone, Debug)]
pub struct DispatchRow {
    /// The pass that it belongs to.
    pub pass: Pass,
    /// The segment that it belongs to, or `update`.
    pub segment: String,
    /// Its name.
    pub label: String,
    /// Its shader.
    pub shader: &'static str,
    /// Whether it is a convolution, forward or backward.
    pub is_convolution: bool,
    /// Workgroups that cover it.
    pub workgroups: u32,
    /// What it costs.
    pub cost: Cost,
    /// Bytes that it must move at least: those of the values that it reads and writes.
    pub bytes: u64,
}

impl DispatchRow {
    /// Global loads per multiply-add, where the kernel has any.
    pub fn loads_per_fma(&self) -> f64 {
        self.cost.loads / (self.cost.flop / 2.0)
    }
}

/// FLOP of a training step, by the blocks that run in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepFlop {
    /// FLOP of a step in which every block is dropped.
    pub always: u64,
    /// The share of each block, which it adds where it runs.
    pub blocks: Vec<u64>,
}

impl StepFlop {
    /// Returns the FLOP of a step with all gates on.
    pub fn all_gates(&self) -> f64 {
        self.blocks.iter().fold(self.always as f64, |sum, &block| sum + block as f64)
    }

    /// Returns the mean FLOP of steps in which each block runs with the share of `rates`.
    pub fn at(&self, rates: &[f64]) -> f64 {
        let left_out = self.blocks.iter().zip(rates).map(|(&block, rate)| (1.0 - rate) * block as f64);
        self.all_gates() - left_out.sum::<f64>()
    }
}

impl Plan {
    /// The dispatches of a step under `gates`, with its update.
    pub fn step_rows(&self, gates: &Gates) -> Vec<DispatchRow> {
        let places = self.templates(gates).map(|(pass, segment, _)| (pass, segment.name.as_str()));
        let places = places.chain(self.update.iter().map(|_| (Pass::Update, "update")));
        let dispatches = self.schedule(gates).into_iter().chain(self.schedule_update());
        places.zip(dispatches).map(|((pass, segment), dispatch)| self.row(pass, segment, &dispatch)).collect()
    }

    /// Bytes that a step under `gates` would move at the least: each value once in each pass that uses it, as if it
    /// stayed on the chip in between. Not all of that can be had, as a batch norm needs sums over the whole batch
    /// before it goes on.
    pub fn least_bytes(&self, gates: &Gates) -> u64 {
        let mut moved: BTreeMap<(usize, ValueId), u64> = BTreeMap::new();
        let passes = self.templates(gates).map(|(pass, _, _)| pass).chain(self.update.iter().map(|_| Pass::Update));
        let dispatches = self.schedule(gates).into_iter().chain(self.schedule_update());
        for (pass, dispatch) in passes.zip(dispatches) {
            let most = dispatch.kernel.bytes().unwrap_or(u64::MAX);
            for value in dispatch.values() {
                moved.entry((pass as usize, value)).or_insert(self.storage.region(value).bytes().min(most));
            }
        }
        moved.values().sum()
    }

    fn row(&self, pass: Pass, segment: &str, dispatch: &Dispatch) -> DispatchRow {
        let values: BTreeSet<ValueId> = dispatch.values().collect();
        let bound = values.iter().map(|&value| self.storage.region(value).bytes()).sum();
        DispatchRow {
            pass,
            segment: segment.to_string(),
            label: dispatch.label.to_string(),
            shader: dispatch.kernel.shader().name,
            is_convolution: conv::is_convolution(dispatch.kernel.shader()),
            workgroups: dispatch.kernel.workgroups(),
            cost: dispatch.kernel.cost(),
            bytes: dispatch.kernel.bytes().unwrap_or(bound),
        }
    }

    /// Returns the FLOP of a training step, update included, block by block.
    pub fn flop(&self) -> StepFlop {
        let flop = |templates: &[Template]| templates.iter().map(|template| template.kernel.cost().flop).sum::<f64>();
        let mut always = flop(&self.update);
        let mut blocks = vec![0.0; self.blocks.len()];
        for segment in &self.segments {
            let operations = flop(&segment.forward) + flop(&segment.backward);
            match segment.runs {
                Runs::Always => always += operations,
                Runs::Kept(block) => blocks[block] += operations,
                // A block that runs adds what it does less what would be done in its place.
                Runs::Dropped(block) => {
                    always += operations;
                    blocks[block] -= operations;
                }
            }
        }
        // Kernels count in whole operations.
        StepFlop { always: always as u64, blocks: blocks.into_iter().map(|operations| operations as u64).collect() }
    }

    /// Returns the expected FLOP of a step, over the draws of the gates.
    pub fn expected_flop(&self) -> f64 {
        self.flop().at(&self.survival)
    }

    /// Number of blocks expected to survive a step.
    pub fn expected_depth(&self) -> f64 {
        self.survival.iter().sum()
    }
}
