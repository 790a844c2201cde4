//! Facts that a run knows of itself besides its settings, written as it begins.

use serde::{Deserialize, Serialize};

use super::config::RunConfig;
use super::older;
use crate::data::DataSet;
use crate::plan::StepFlop;

/// Facts that readers of a run's folder would otherwise have to work out again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunFacts {
    /// Runs that were made at once when this one began, itself among them.
    pub jobs: usize,
    /// FLOP of a training step; `None` if nobody can tell any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flop: Option<StepFlop>,
}

impl RunConfig {
    /// Returns the facts that the run wrote; for a run of an older sdgpu, which wrote none, as many
    /// as its settings and its data set `data` still tell.
    pub fn facts_with(&self, data: Option<&DataSet>) -> RunFacts {
        self.facts.clone().unwrap_or_else(|| older::facts(self, data))
    }
}
