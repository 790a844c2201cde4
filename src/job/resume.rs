//! Going on with a run that was stopped.

use super::device::DeviceRequest;
use super::error::JobError;
use crate::data::DataSet;
use crate::device::DeviceKind;
use crate::device::open::DeviceChoice;
use crate::model::resnet::ResNet;
use crate::model::weights::Weights;
use crate::run_dir::{DeviceEntry, Resumed, RunConfig, RunDir, RunError, StoppedRun};
use crate::train::Checkpoint;

/// Errors if the data are not those that the run of `config` began with.
pub(super) fn check_resumable(config: &RunConfig, data: &DataSet, data_sha256: &str) -> Result<(), JobError> {
    let RunConfig { settings, data_sha256: before, .. } = config;
    if data_sha256 != before {
        return Err(JobError::OtherData { data: settings.data.clone() });
    }
    Ok(settings.check(data.train.len(), data.test.len())?)
}

impl DeviceRequest {
    /// Asks for the device of `stopped` where no other one is asked for.
    pub fn or_that_of(self, stopped: &StoppedRun) -> Self {
        if self.device != DeviceChoice::Auto {
            return self;
        }
        let DeviceEntry { kind, name, backend, .. } = &stopped.config.device;
        let is_gpu = *kind == DeviceKind::Gpu;
        let device = DeviceChoice::again(*kind, name);
        let before = || backend.to_lowercase().parse().ok().filter(|_| is_gpu);
        Self { device, backend: self.backend.or_else(before), ..self }
    }
}

/// Goes on with a run, which `config` describes as it is now, from its last checkpoint, or else
/// from `initial`; and what to tell the user of it.
pub(super) fn resume(
    stopped: StoppedRun,
    config: &RunConfig,
    net: &ResNet,
    initial: Weights,
) -> Result<(RunDir, Checkpoint, Vec<String>), RunError> {
    let mut notes = Vec::new();
    let RunConfig { version, device, settings, .. } = &stopped.config;
    // The CPU device's threads make no difference.
    let driver = if device.kind == DeviceKind::Cpu { &config.device.driver } else { &device.driver };
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
