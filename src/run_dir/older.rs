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

/// Moves what older versions wrote elsewhere in `config.toml` to where it belongs now: whether gradients
/// are recorded is a setting.
pub(super) fn upgrade(config: &mut toml::Table) {
    if let Some(recorded) = config.remove("record-gradients")
        && let Some(toml::Value::Table(settings)) = config.get_mut("settings")
    {
        settings.entry("record-gradients").or_insert(recorded);
    }
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
