//! Going on with a run that was stopped.

use crate::cli::BadInput;
use crate::cli::args::TrainArgs;
use crate::data::DataSet;
use crate::device::gpu::Backend;
use crate::model::resnet::ResNet;
use crate::model::weights::Weights;
use crate::run_dir::{DeviceEntry, Resumed, RunConfig, RunDir, RunError, StoppedRun};
use crate::train::{Checkpoint, TrainOptions};

/// The settings of a run that was stopped; errors if its data are not what they were.
pub fn settings_of(
    stopped: &StoppedRun,
    args: &TrainArgs,
    data: &DataSet,
    data_sha256: &str,
) -> anyhow::Result<TrainOptions> {
    let RunConfig { settings, data_sha256: before, .. } = &stopped.config;
    if data_sha256 != before {
        let message = format!("{}: the images or labels are not those that the run began with", settings.data);
        return Err(BadInput(message).into());
    }
    settings.check(data.train.len(), data.test.len())?;
    if args.run.keep_checkpoints.is_some() {
        return Err(BadInput("--keep-checkpoints is settled where the run began; leave it out".into()).into());
    }
    Ok(settings.clone())
}

/// The device asked for, or the one that the run was made on.
pub fn device_flags(args: &TrainArgs, stopped: Option<&StoppedRun>) -> (String, Option<Backend>) {
    let (device, backend) = (args.model.training.device.clone(), args.model.training.backend);
    match stopped {
        Some(stopped) if device == "auto" => {
            let DeviceEntry { kind, name, backend: before, .. } = &stopped.config.device;
            let is_gpu = kind == "gpu";
            let device = if is_gpu { name } else { kind };
            (device.clone(), backend.or_else(|| before.to_lowercase().parse().ok().filter(|_| is_gpu)))
        }
        _ => (device, backend),
    }
}

/// Goes on with a run, which `config` describes as it is now, from its last checkpoint, or else from `initial`; and
/// what to tell the user of it.
pub fn resume(
    stopped: StoppedRun,
    config: &RunConfig,
    net: &ResNet,
    initial: Weights,
) -> Result<(RunDir, Checkpoint, Vec<String>), RunError> {
    let mut notes = Vec::new();
    let RunConfig { version, device, settings, .. } = &stopped.config;
    // The CPU device's threads make no difference.
    let driver = if device.kind == "cpu" { &config.device.driver } else { &device.driver };
    if (DeviceEntry { driver: driver.clone(), ..device.clone() }) != config.device || *version != config.version {
        let DeviceEntry { name, backend, .. } = device;
        notes
            .push(format!("a run of sdgpu {version} on {name} ({backend}): the last bits may come out otherwise here"));
    }
    let steps = settings.steps;
    let Resumed { run_dir, checkpoint, passed_over } = stopped.resume(net)?;
    notes.extend(passed_over.iter().map(|error| format!("{error}; it is passed over")));
    notes.push(match &checkpoint {
        Some(Checkpoint { counters, .. }) => format!("after step {} of {steps}", counters.step),
        None => "from the beginning: the run was stopped before its first checkpoint".into(),
    });
    Ok((run_dir, checkpoint.unwrap_or_else(|| Checkpoint::begin(initial)), notes))
}
