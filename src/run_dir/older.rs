//! Facts about the runs of older versions of sdgpu, which did not write them: what such a run did then.

use super::arguments::Arguments;
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

/// Returns what the settings and the command in `config` and the run's data set `data` tell of the run.
pub(super) fn facts(config: &RunConfig, data: Option<&DataSet>) -> RunFacts {
    let words = config.command.iter().flat_map(|command| command.split(' ').skip(1));
    let arguments = Arguments::of(words.map(String::from));
    RunFacts {
        jobs: arguments.value("--jobs").and_then(|jobs| jobs.parse().ok()).unwrap_or(1),
        arguments,
        training_images: data.and_then(|data| data.train.len().checked_sub(config.settings.validation)),
        flop: data.and_then(|data| flop(config, data)),
    }
}

/// Returns the FLOP of a step by the plan that the run was made with; `None` if its settings do not fit
/// `data`. Those of recording a gradient, one for each weight of the first convolution, are left out:
/// reports about such runs never counted them.
fn flop(config: &RunConfig, data: &DataSet) -> Option<StepFlop> {
    let settings = TrainOptions { record_gradients: false, ..config.settings.clone() };
    let net = settings.net(data.train.channels, data.classes).ok()?;
    let sizes = DataSizes {
        height: data.train.height,
        width: data.train.width,
        train: data.train.len(),
        test: data.test.len(),
    };
    let options = settings.plan(&net, sizes, ROOMY).ok()?;
    Some(Plan::new(&net, &options).ok()?.flop())
}

#[cfg(test)]
mod tests {
    use super::upgrade;

    #[test]
    fn what_older_versions_wrote_elsewhere_is_found() {
        let old = "record-gradients = true\nseed = 1\n[tuning]\n\"conv_forward store=3 depth_parts=4\" = \"x\"\n";
        let new = "\nseed = 1\n[tuning]\n\"conv_forward epilogue=3 split_k=4\" = \"x\"\n";
        assert_eq!(upgrade(old), (new.to_string(), true));
        // Today's is left alone.
        let settings = "[settings]\nrecord-gradients = true\n";
        assert_eq!(upgrade(settings), (settings.to_string(), false));
    }
}
