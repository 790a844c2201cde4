//! What a run knows of itself besides its settings, written as it begins.

use serde::{Deserialize, Serialize};

use super::arguments::Arguments;
use super::config::RunConfig;
use super::older;
use crate::data::DataSet;
use crate::plan::StepFlop;

/// Facts that readers of a run's folder would otherwise have to work out again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RunFacts {
    /// Arguments of the command that began it; empty if none did, or none that is known.
    #[serde(default)]
    pub arguments: Arguments,
    /// Runs that were made at once when this one began, itself among them.
    pub jobs: usize,
    /// Images that the training batches are drawn from; `None` if nobody can tell any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_images: Option<usize>,
    /// FLOP of a training step; `None` if nobody can tell any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flop: Option<StepFlop>,
}

impl RunConfig {
    /// Returns the facts that the run wrote; for a run of an older sdgpu, which wrote none, as many as
    /// its settings and its data set `data` still tell.
    pub fn facts_with(&self, data: Option<&DataSet>) -> RunFacts {
        self.facts.clone().unwrap_or_else(|| older::facts(self, data))
    }
}
