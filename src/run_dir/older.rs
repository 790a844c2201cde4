//! Facts about the runs of older versions of sdgpu, which did not write them: what such a run did then.

use super::config::RunConfig;
use super::facts::RunFacts;
use crate::data::DataSet;
use crate::dispatch::Limits;
use crate::plan::{DataSizes, Plan, StepFlop};

/// Limits that everything fits into: FLOP do not depend on them.
const ROOMY: Limits = Limits { binding_words: usize::MAX >> 3, buffer_words: usize::MAX >> 3, total_words: usize::MAX };

/// Returns what the settings and the command in `config` and the run's data set `data` tell of the run.
pub(super) fn facts(config: &RunConfig, data: Option<&DataSet>) -> RunFacts {
    RunFacts {
        jobs: config.command.as_deref().and_then(jobs).unwrap_or(1),
        training_images: data.and_then(|data| data.train.len().checked_sub(config.settings.validation)),
        flop: data.and_then(|data| flop(config, data)),
    }
}

/// Returns the value of `--jobs` in `command`.
fn jobs(command: &str) -> Option<usize> {
    let words: Vec<&str> = command.split([' ', '=']).collect();
    words.windows(2).find(|words| words[0] == "--jobs").and_then(|words| words[1].parse().ok())
}

/// Returns the FLOP of a step by the plan that the run was made with; `None` if its settings do not fit `data`.
fn flop(config: &RunConfig, data: &DataSet) -> Option<StepFlop> {
    let settings = &config.settings;
    let net = settings.net(data.train.channels, data.classes).ok()?;
    let sizes = DataSizes {
        height: data.train.height,
        width: data.train.width,
        train: data.train.len(),
        test: data.test.len(),
    };
    let options = settings.plan(&net, sizes, ROOMY, config.record_gradients).ok()?;
    Some(Plan::new(&net, &options).ok()?.flop())
}

#[cfg(test)]
mod tests {
    use super::jobs;

    #[test]
    fn jobs_stand_in_the_command() {
        assert_eq!(jobs("sdgpu sweep --jobs 3 --out s"), Some(3));
        assert_eq!(jobs("sdgpu sweep --jobs=2"), Some(2));
        assert_eq!([jobs("sdgpu train --out jobs"), jobs("sdgpu sweep --jobs")], [None; 2]);
    }
}
