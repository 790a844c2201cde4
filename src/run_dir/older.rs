//! Facts about the runs of older versions of sdgpu, which did not write them: what such a run did
//! then.

use super::config::RunConfig;
use super::facts::RunFacts;
use crate::data::DataSet;
use crate::dispatch::Limits;
use crate::plan::{DataSizes, Plan, StepFlop};
use crate::train::TrainOptions;

/// Limits that everything fits into: FLOP do not depend on them.
const ROOMY: Limits = Limits { binding_bytes: u64::MAX, buffer_bytes: u64::MAX, total_bytes: u64::MAX };

/// Returns the text of a `config.toml` as this version writes it, and whether an older one recorded
/// gradients, which it noted outside of the settings.
///
/// Works on the text, as a table of TOML's values would hold no number above 2^63.
pub(super) fn upgrade(text: &str) -> (String, bool) {
    let (mut upgraded, mut table, mut records_gradients) = (String::with_capacity(text.len()), "", false);
    for line in text.lines() {
        if line.starts_with('[') {
            table = line.trim();
        }
        match (table, line.strip_prefix("record-gradients = ")) {
            ("", Some(recorded)) => records_gradients = recorded.trim() == "true",
            // Parameters of shaders that have other names now.
            ("[tuning]", _) => upgraded += &line.replace(" store=", " epilogue=").replace(" depth_parts=", " split_k="),
            _ => upgraded += line,
        }
        upgraded.push('\n');
    }
    (upgraded, records_gradients)
}

/// Returns the facts that the settings and the command in `config` and the run's data set `data`
/// tell.
pub(super) fn facts(config: &RunConfig, data: Option<&DataSet>) -> RunFacts {
    let jobs = config.command.as_deref().and_then(jobs).unwrap_or(1);
    RunFacts { jobs, flop: data.and_then(|data| flop(&config.settings, data)) }
}

/// Returns the number behind the flag `--jobs` of `command`.
fn jobs(command: &str) -> Option<usize> {
    let mut words = command.split([' ', '=']).skip_while(|word| *word != "--jobs").skip(1);
    words.next()?.parse().ok()
}

/// Returns the FLOP of a step by the plan that the run was made with; `None` if its settings do not
/// fit `data`.
fn flop(settings: &TrainOptions, data: &DataSet) -> Option<StepFlop> {
    let net = settings.net(data.train.channels, data.classes).ok()?;
    let sizes = DataSizes {
        height: data.train.height,
        width: data.train.width,
        train: data.train.len(),
        test: data.test.len(),
    };
    let survival = settings.survival_probabilities(net.blocks.len()).ok()?;
    let options = settings.plan_options(survival, sizes, ROOMY);
    Some(Plan::new(&net, &options).ok()?.flop())
}

#[cfg(test)]
mod tests {
    use super::{jobs, upgrade};

    #[test]
    fn what_older_versions_wrote_elsewhere_is_found() {
        let old = "record-gradients = true\nseed = 1\n[tuning]\n\"conv_forward store=3 depth_parts=4\" = \"x\"\n";
        let new = "\nseed = 1\n[tuning]\n\"conv_forward epilogue=3 split_k=4\" = \"x\"\n";
        assert_eq!(upgrade(old), (new.to_string(), true));
        // Today's is left alone.
        let settings = "[settings]\nrecord-gradients = true\n";
        assert_eq!(upgrade(settings), (settings.to_string(), false));
    }

    #[test]
    fn a_recorded_command_tells_the_runs_at_once() {
        assert_eq!(jobs("sdgpu sweep --jobs 2 --seeds 3"), Some(2));
        assert_eq!(jobs("sdgpu sweep --seeds 3 --jobs=12"), Some(12));
        assert_eq!([jobs("sdgpu sweep --seeds 3"), jobs("sdgpu sweep --jobs"), jobs("")], [None; 3]);
    }
}
